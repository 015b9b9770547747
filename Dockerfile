# The gateway. BASE_IMAGE is any Debian-like image with Python 3.11 or later and its venv.
ARG BASE_IMAGE=python:3.12-slim-bookworm

FROM ${BASE_IMAGE} AS build
WORKDIR /src
COPY . .
# With wheels/ in the context nothing is downloaded.
RUN python3 -m venv /opt/aosd \
    && if [ -d wheels ]; then \
        /opt/aosd/bin/pip install --no-cache-dir --no-index --find-links wheels aosd; \
    else \
        /opt/aosd/bin/pip install --no-cache-dir .; \
    fi \
    && /opt/aosd/bin/pip uninstall -y pip

FROM ${BASE_IMAGE}
LABEL org.opencontainers.image.title="aosd" \
      org.opencontainers.image.description="One durable object store out of any number of S3 servers" \
      org.opencontainers.image.licenses="MIT"
COPY --from=build /opt/aosd /opt/aosd
ENV PATH=/opt/aosd/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
# Not root. To read the Docker socket it needs the socket's group: see docs/docker.md.
USER 10001:10001
WORKDIR /tmp
EXPOSE 3000
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:3000/-/health', timeout=2)"]
ENTRYPOINT ["twistd", "-n", "--pidfile=", "aosd"]
