"""JupyterLab as `make lab` starts it: on this machine only, at the first chapter, offline."""

from pathlib import Path

c = get_config()  # noqa: F821 (JupyterLab provides it)

c.ServerApp.ip = "127.0.0.1"
c.ServerApp.root_dir = str(Path(__file__).resolve().parent.parent)
c.LabApp.default_url = "/lab/tree/chapters/00_start_here.ipynb"
# The list of extensions comes from the network; the course needs none of them.
c.LabApp.extension_manager = "readonly"
c.LabApp.news_url = None
c.LabApp.check_for_updates_class = "jupyterlab.NeverCheckForUpdate"
