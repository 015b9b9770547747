"""What pyproject.toml can't say: the package that Twisted looks for plugins in."""

from setuptools import find_packages, setup

setup(
    # `twisted.plugins` has no __init__.py, here or in Twisted: plugins of many projects
    # share it, and find_packages doesn't see it.
    packages=[*find_packages(include=["aosd", "aosd.*"]), "twisted.plugins"],
    # Makes an editable install put this folder on sys.path, rather than a finder that
    # knows `aosd` alone and hides the plugin.
    package_dir={"": "."},
)
