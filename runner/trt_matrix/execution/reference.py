"""What errors are against: the outputs of the reference, which every form of the network must give."""

from collections.abc import Mapping
from typing import Any

from trt_matrix.core.cells import Status
from trt_matrix.core.records import Measurement
from trt_matrix.environments.base import Environment, Identity
from trt_matrix.errors import ConfigError, EnvironmentUnavailableError
from trt_matrix.execution import alternatives
from trt_matrix.execution.jobs import Jobs
from trt_matrix.execution.progress import Progress
from trt_matrix.execution.wanted import JobSite, PassRequests, Variant, WantedPass

REFERENCE_DEVICE = "cpu"


def measured(jobs: Jobs, progress: Progress, site: JobSite, wanted: WantedPass) -> Measurement:
    """Returns the outputs that errors are against.

    Raises:
        EnvironmentUnavailableError: without a reference nothing can be compared.
    """
    progress.expect(1)
    (reference,) = jobs.measure(site, [wanted])
    measurement = reference.measurement
    if measurement.status is not Status.OK:
        raise EnvironmentUnavailableError(
            f"the reference ({site.environment.name}) could not run this network: "
            f"{measurement.reason}\n{measurement.log_tail or ''}".rstrip()
        )
    return measurement


def check_variants(
    jobs: Jobs, wants: PassRequests, progress: Progress, site: JobSite, reference: Measurement
) -> None:
    """Computes every variant of the network on the host; it must give what the reference gives.

    Raises:
        ConfigError: one gives something else; names each such.
    """
    network = wants.network
    wanted = [
        wants.measurement(site, f"variant-{number}", 0, Variant(variant.fp32))
        for number, variant in enumerate(network.variants)
    ]
    progress.expect(len(wanted))
    problems = []
    for variant, measured_pass in zip(network.variants, jobs.measure(site, wanted), strict=True):
        measurement = measured_pass.measurement
        reason = measurement.reason
        if measurement.status is Status.OK:
            reason = alternatives.unlike(jobs.store, reference.outputs, measurement.outputs)
        if reason:
            problems.append(f"{variant.name} is not the function of {network.name}: {reason}")
    if problems:
        raise ConfigError("model.variants", problems)


def reference_site(
    environment: Environment,
    identity: Identity,
    engine_options: Mapping[str, Mapping[str, Any]],
) -> JobSite:
    """Returns where the reference is computed; its latency is of no interest."""
    return JobSite(
        environment=environment,
        identity=identity,
        device=REFERENCE_DEVICE,
        engine_options=engine_options[environment.name],
        timing=None,
        shapes={},
    )
