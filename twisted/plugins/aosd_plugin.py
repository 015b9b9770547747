"""Makes `twistd aosd` known to Twisted."""

from twisted.application.service import ServiceMaker

aosd = ServiceMaker(
    "aosd",
    "aosd.service",
    "One durable object store out of any number of S3 servers.",
    "aosd",
)
