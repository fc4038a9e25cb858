# The sidecar: docker build -t extproc . && docker run -e OPENAI_API_KEY -p 127.0.0.1:50051:50051 extproc
FROM python:3.12-slim AS build
COPY pyproject.toml README.md LICENSE /src/
COPY deploy /src/deploy
COPY extproc /src/extproc
RUN python -m venv /opt/extproc && /opt/extproc/bin/pip install --no-cache-dir '/src[fast]'

FROM python:3.12-slim
COPY --from=build /opt/extproc /opt/extproc
ENV PATH=/opt/extproc/bin:$PATH PYTHONUNBUFFERED=1
# It reads nothing but its environment and writes nothing.
USER 65532:65532
EXPOSE 50051
ENTRYPOINT ["extproc"]
# Inside a container loopback is nobody's; what may reach the port is the operator's to say.
CMD ["serve", "--listen", "0.0.0.0:50051"]
