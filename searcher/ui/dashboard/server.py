"""Optuna's dashboard on everything that is stored under a runs folder."""

import warnings
from pathlib import Path
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import optuna_dashboard

from searcher.errors import SearcherError
from searcher.searching.storage.backends import is_stored, open_storage
from searcher.searching.storage.studies import stored_names
from searcher.ui.dashboard.publish import artifact_store, publish


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """A line a request would bury everything else."""


def serve(runs: Path, port: int) -> None:
    """Serve the dashboard on the loopback interface until interrupted.

    Args:
        runs: The runs folder.
        port: The port; 0 lets the system choose.

    Raises:
        SearcherError: Nothing is stored there, or the port is taken.
    """
    if not is_stored(runs):
        raise SearcherError(f"nothing is stored in {runs} yet")
    app = optuna_dashboard.wsgi(open_storage(runs), artifact_store=artifact_store(runs))
    try:
        server = make_server("127.0.0.1", port, app, _Server, _Quiet)
    except OSError as error:
        raise SearcherError(f"port {port}: {error.strerror}; choose another with --port") from error
    for name in stored_names(runs):
        if lacking := publish(runs, name):
            print(lacking, flush=True)
    print(f"dashboard on http://127.0.0.1:{server.server_port}/ (Ctrl-C ends it)", flush=True)
    with server, warnings.catch_warnings():
        # A line a parameter, whenever the page computes importances.
        warnings.filterwarnings("ignore", message="Some regimes for parameter", category=UserWarning)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return
