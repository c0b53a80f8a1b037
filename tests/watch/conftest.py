"""What the tests of the live view share with those of the hosts."""

from tests.support.kernel import kernel, shared_kernel

__all__ = ["kernel", "shared_kernel"]
