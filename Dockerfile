# The page and the commands on a CPU, without PyTorch. docs/install.md has the commands that build and run it.

FROM python:3.12-slim AS build
WORKDIR /source
COPY . .
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels . \
    && python -m venv /opt/person-search \
    && /opt/person-search/bin/pip install --no-cache-dir /wheels/*.whl

# The same image as above: the virtual environment names the path of its interpreter.
FROM python:3.12-slim
COPY --from=build /opt/person-search /opt/person-search
# A waiting OpenMP thread that spins makes a loaded machine slow.
ENV PATH=/opt/person-search/bin:$PATH OMP_WAIT_POLICY=PASSIVE

# A volume that is new takes over the owner of the folder that it covers.
RUN useradd --create-home --uid 10001 person-search \
    && install --directory --owner=person-search /gallery /footage
# By number, so that a cluster can see that it is not root.
USER 10001
WORKDIR /gallery
# /gallery keeps gallery files and what is added on the page; /footage is yours, best mounted read-only.
VOLUME ["/gallery", "/footage"]

EXPOSE 7860
# All is well, as far as the page can tell; who asks need not log in.
HEALTHCHECK --interval=30s --timeout=10s --start-period=2m --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:7860/health', timeout=8)"]

ENTRYPOINT ["person-search"]
# There is no password in the image: without one given to `docker run`, the page refuses to start.
CMD ["serve", "--host", "0.0.0.0", "--gallery", "/gallery/gallery.db", "--user", "person-search", "--password-env", "PERSON_SEARCH_PASSWORD"]
