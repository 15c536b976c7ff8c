"""Is there an NVIDIA driver on this machine? Asked of NVML; no network, a few milliseconds."""

import pynvml

NO_DRIVER = "no NVIDIA driver"


def driver_obstacle() -> str | None:
    """Returns why no GPU can be used here; None where the driver answers."""
    try:
        pynvml.nvmlInit()
    except (pynvml.NVMLError_LibraryNotFound, pynvml.NVMLError_DriverNotLoaded):
        return NO_DRIVER
    except pynvml.NVMLError as error:
        return f"the NVIDIA driver does not answer ({error}); see `nvidia-smi`"
    pynvml.nvmlShutdown()
    return None
