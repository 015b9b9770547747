"""Answers that take long, kept alive as S3 does it: 200, and white space before the document.

Source: https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import LoopingCall

from aosd.doors.s3.call import Call
from aosd.doors.s3.errors import code_of
from aosd.doors.s3.problems import as_s3, problem
from aosd.doors.s3.targets import Target
from aosd.doors.s3.xml_out import DECLARATION
from aosd.model.errors import ClientGone

_DECLARATION = DECLARATION.encode("ascii")
_PATIENCE_S = 5.0  # what can be said by then gets its own status
_PULSE_S = 10.0  # load balancers give up after 30 s of silence, some after 15


async def patiently(call: Call, work: Coroutine[Any, Any, bytes]) -> None:
    """Answer with the document that `work` returns, however long that takes.

    When nothing is known after 5 s the answer begins: 200, the XML declaration, and a space
    every 10 s. What `work` raises after that is an Error document there, with status 200;
    clients know to look for it. What it raises before that is raised.
    """
    request = call.request
    pulse = LoopingCall(_pulse, call)
    pulse.clock = call.store.clock
    beginning = call.store.clock.callLater(_PATIENCE_S, lambda: _begin(call, pulse))
    try:
        data = await Deferred.fromCoroutine(work)
    except (CancelledError, ClientGone):
        raise
    except Exception as error:
        if not request.startedWriting:
            raise
        told = as_s3(error, request.request_id)
        target = Target(call.bucket, call.key, call.query)
        data = problem(code_of(told), str(told), target, request.request_id)
    finally:
        if beginning.active():
            beginning.cancel()
        if pulse.running:
            pulse.stop()
    if request.startedWriting:
        request.write(data.removeprefix(_DECLARATION))
    else:
        call.write_xml(data)


def _begin(call: Call, pulse: LoopingCall) -> None:
    call.request.setResponseCode(200)
    call.request.setHeader(b"content-type", b"application/xml")
    call.request.write(_DECLARATION)
    pulse.start(_PULSE_S, now=False)


def _pulse(call: Call) -> None:
    call.request.write(b" ")
