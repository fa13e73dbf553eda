# One image for every service: `docker run … flows serve worker`.
FROM python:3.11-slim
RUN apt-get update && apt-get install -y --no-install-recommends zstd && rm -rf /var/lib/apt/lists/*
WORKDIR /srv/flows
COPY requirements.lock ./
RUN pip install --no-cache-dir --requirement requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY schemas schemas
COPY bus bus
COPY services services
COPY api api
COPY cli cli
RUN pip install --no-cache-dir --no-deps --no-build-isolation .
RUN useradd --system --create-home flows
USER flows
ENTRYPOINT ["flows"]
CMD ["--help"]
