from tests.tasks.conftest import store

__all__ = ["store"]
