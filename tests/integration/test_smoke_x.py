def test_it(daemon, nodes):
    print(daemon.ask("PUT","/object/a",{"x-amz-meta-Who":"x"},b"hello"))
    print(daemon.ask("GET","/object/a"))
    print(nodes[0].uploads("a"), [n.keys() for n in nodes])
    print(daemon.connections_to(nodes[0].port))
    print(daemon.metric("aosd_requests_total", door="plain"))
    print(daemon.ask("GET","/-/nodes").json)
