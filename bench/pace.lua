-- Usage: luajit pace.lua PORT PATH-PREFIX COUNT RATE SECONDS CONNECTIONS
-- GETs PATH-PREFIX1 … PATH-PREFIX{COUNT} in turn from 127.0.0.1 at a constant rate, and reports in
-- one line of JSON how long they took from when they were due. What is due while all connections
-- wait for answers queues, and its time counts: a server that stalls doesn't slow down the clock
-- that it is measured by. (wrk asks only as fast as it is answered.) `late_p99_us` tells how late
-- this program itself was: to be small beside what it measures.
local ffi = require("ffi")
local bit = require("bit")
local C = ffi.C

ffi.cdef [[
typedef long ssize_t;
struct timespec { long tv_sec; long tv_nsec; };
struct pollfd { int fd; short events; short revents; };
struct sockaddr_in { uint16_t family; uint16_t port; uint32_t address; uint8_t zero[8]; };
int socket(int, int, int);
int connect(int, const struct sockaddr_in *, unsigned);
int setsockopt(int, int, int, const void *, unsigned);
ssize_t send(int, const void *, size_t, int);
ssize_t recv(int, void *, size_t, int);
int ppoll(struct pollfd *, unsigned long, const struct timespec *, const void *);
int clock_gettime(int, struct timespec *);
int prctl(int, unsigned long, unsigned long, unsigned long, unsigned long);
void *memmem(const void *, size_t, const void *, size_t);
char *strcasestr(const char *, const char *);
long strtol(const char *, char **, int);
]]

local AF_INET, SOCK_STREAM, IPPROTO_TCP, TCP_NODELAY = 2, 1, 6, 1
local MSG_DONTWAIT, MSG_NOSIGNAL, POLLIN = 0x40, 0x4000, 1
local CLOCK_MONOTONIC, PR_SET_TIMERSLACK = 1, 29
local BUFFER_BYTES, LAST_ANSWERS_S = 65536, 10

local function fail(...)
   io.stderr:write(string.format(...), "\n")
   os.exit(1)
end

local time = ffi.new("struct timespec")
local function now()
   C.clock_gettime(CLOCK_MONOTONIC, time)
   return tonumber(time.tv_sec) + tonumber(time.tv_nsec) * 1e-9
end

local port, prefix = tonumber(arg[1]), arg[2]
local keys, rate, seconds = tonumber(arg[3]), tonumber(arg[4]), tonumber(arg[5])
local connections = tonumber(arg[6])

local requests = {}
for number = 1, keys do
   local head = "GET %s%d HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n"
   requests[number] = head:format(prefix, number, port)
end

local address = ffi.new("struct sockaddr_in")
address.family = AF_INET
address.port = bit.bor(bit.lshift(bit.band(port, 255), 8), bit.rshift(port, 8))
address.address = ffi.abi("le") and 0x0100007f or 0x7f000001

C.prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0)
local polled = ffi.new("struct pollfd[?]", connections)
local buffers, filled, due, idle, idle_count = {}, {}, {}, {}, 0
local one = ffi.new("int[1]", 1)
for number = 0, connections - 1 do
   local descriptor = C.socket(AF_INET, SOCK_STREAM, 0)
   if C.connect(descriptor, address, ffi.sizeof(address)) ~= 0 then
      fail("port %d can't be reached", port)
   end
   C.setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, one, 4)
   polled[number].fd, polled[number].events = descriptor, POLLIN
   buffers[number], filled[number] = ffi.new("char[?]", BUFFER_BYTES + 1), 0
   idle_count = idle_count + 1
   idle[idle_count] = number
end

-- Whether the whole answer has come on a connection.
local function receive(number)
   local buffer, count = buffers[number], filled[number]
   local came = C.recv(polled[number].fd, buffer + count, BUFFER_BYTES - count, MSG_DONTWAIT)
   if came <= 0 then
      fail("a connection was closed, or an answer is too long")
   end
   count = count + tonumber(came)
   filled[number] = count
   buffer[count] = 0
   local head_end = ffi.cast("char *", C.memmem(buffer, count, "\r\n\r\n", 4))
   if head_end == nil then
      return false
   end
   if C.memmem(buffer, 12, "HTTP/1.1 200", 12) == nil then
      fail("an answer was %s", ffi.string(buffer, math.min(count, 100)))
   end
   local found = C.strcasestr(buffer, "\r\ncontent-length:")
   if found == nil or found > head_end then
      fail("an answer tells no length")
   end
   local whole = tonumber(head_end - buffer) + 4 + tonumber(C.strtol(found + 17, nil, 10))
   if count < whole then
      return false
   end
   filled[number] = 0
   return true
end

local total = math.floor(rate * seconds + 0.5)
local took, late = ffi.new("double[?]", total), ffi.new("double[?]", total)
local made, sent, answered, late_count = 0, 0, 0, 0
local wait = ffi.new("struct timespec")
local began = now()
while answered < total do
   local at = now()
   while made < total and began + made / rate <= at do
      made = made + 1
   end
   local could = idle_count > 0
   while sent < made and idle_count > 0 do
      local number = idle[idle_count]
      idle_count = idle_count - 1
      local request = requests[sent % keys + 1]
      due[number] = began + sent / rate
      if C.send(polled[number].fd, request, #request, MSG_NOSIGNAL) ~= #request then
         fail("a connection was closed")
      end
      if could then
         late[late_count] = at - due[number]
         late_count = late_count + 1
      end
      sent = sent + 1
   end
   if at > began + seconds + LAST_ANSWERS_S then
      fail("%d of %d weren't answered in time", total - answered, total)
   end
   local left = made < total and began + made / rate - now() or LAST_ANSWERS_S
   left = math.max(left, 0)
   wait.tv_sec = math.floor(left)
   wait.tv_nsec = math.floor((left - math.floor(left)) * 1e9)
   if C.ppoll(polled, connections, wait, nil) > 0 then
      for number = 0, connections - 1 do
         if polled[number].revents ~= 0 and receive(number) then
            took[answered] = now() - due[number]
            answered = answered + 1
            idle_count = idle_count + 1
            idle[idle_count] = number
         end
      end
   end
end

local function quantile(values, count, part)
   local sorted = {}
   for number = 0, count - 1 do
      sorted[number + 1] = values[number]
   end
   table.sort(sorted)
   return sorted[math.min(count, math.floor(count * part) + 1)] * 1e6
end

io.write(string.format(
   '{"requests": %d, "p50_us": %.1f, "p99_us": %.1f, "late_p99_us": %.1f}\n', answered,
   quantile(took, answered, 0.5), quantile(took, answered, 0.99), quantile(late, late_count, 0.99)))
