# syntax=docker/dockerfile:1
# Two stages: the first builds the environment from uv.lock, the second carries only that.

FROM python:3.13-slim AS build
WORKDIR /src
ENV UV_PYTHON_DOWNLOADS=never UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1 UV_PROJECT_ENVIRONMENT=/opt/promptmill
RUN pip install --no-cache-dir uv
# The dependencies first: they change less often than the code, so their layer is kept.
COPY pyproject.toml uv.lock ./
RUN uv sync --frozen --no-dev --no-install-project
COPY README.md LICENSE ./
COPY migrations ./migrations
COPY app ./app
RUN uv sync --frozen --no-dev --no-editable

FROM python:3.13-slim
RUN useradd --create-home --uid 10001 promptmill \
  && install --directory --owner promptmill --group promptmill /data
COPY --from=build /opt/promptmill /opt/promptmill
ENV PATH=/opt/promptmill/bin:$PATH \
  DATABASE_URL=sqlite:////data/promptmill.db \
  PROMPTMILL_HOST=0.0.0.0
USER promptmill
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health', timeout=2)"]
ENTRYPOINT ["promptmill"]
CMD ["serve"]
