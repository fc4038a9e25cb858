# The sidecar: docker build -t extproc . && docker run -e OPENAI_API_KEY -p 127.0.0.1:50051:50051 extproc
#
# Any image with Python 3.11 or later and its venv module will do as the base: --build-arg BASE=...
# For a build that can be repeated name its digest, BASE=python:3.12-slim@sha256:..., as your registry tells it.
ARG BASE=python:3.12-slim
FROM ${BASE} AS build
# What is needed changes seldom, what is built often: two layers. Each file that is installed has the hash that the lock says.
COPY requirements.image.lock /src/
RUN python3 -m venv /opt/extproc \
 && /opt/extproc/bin/pip install --no-cache-dir --quiet --require-hashes -r /src/requirements.image.lock
# COMPILE=1: what handles each message is compiled, which halves the CPU and takes some minutes. The base needs apt.
ARG COMPILE=0
RUN [ "${COMPILE}" != 1 ] || { apt-get -q update && apt-get -qy install --no-install-recommends gcc libc6-dev \
 && { [ -e "$(python3 -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h" ] \
      || apt-get -qy install --no-install-recommends python3-dev; }; }
COPY pyproject.toml README.md LICENSE setup.py /src/
COPY deploy/envoy.yaml /src/deploy/envoy.yaml
COPY extproc /src/extproc
RUN EXTPROC_COMPILE=${COMPILE} /opt/extproc/bin/pip install --no-cache-dir --quiet --no-deps /src \
 && /opt/extproc/bin/pip uninstall --quiet --yes setuptools pip
# What is in it (CycloneDX), checked against the lock: docker run --rm --entrypoint cat extproc /opt/extproc/sbom.cdx.json
COPY deploy/sbom.py /src/
RUN /opt/extproc/bin/python /src/sbom.py /src/requirements.image.lock > /opt/extproc/sbom.cdx.json

FROM ${BASE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="extproc" \
      org.opencontainers.image.description="An Envoy external-processing sidecar that translates between LLM APIs" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /opt/extproc /opt/extproc
# Where a Unix socket goes, in a volume that Envoy shares: the volume starts as this folder is.
RUN install -d -o 65532 -g 65532 -m 0750 /run/extproc
# Inside a container loopback is nobody's; what may reach the port is the operator's to say.
ENV PATH=/opt/extproc/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 EXTPROC_LISTEN=0.0.0.0:50051
# It reads its environment and the files that routes name, and writes nothing but its socket.
USER 65532:65532
EXPOSE 50051
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 CMD ["extproc", "health"]
# Asks it to drain; give it longer than EXTPROC_DRAIN_SECONDS before it is killed (docker stop --time 60).
STOPSIGNAL SIGTERM
ENTRYPOINT ["extproc"]
CMD ["serve"]
