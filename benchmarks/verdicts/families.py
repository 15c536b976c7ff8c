"""All families, by name."""

from benchmarks.verdicts import (
    chance_builds,
    chance_images,
    planted_broken,
    planted_engines,
    planted_tables,
)

FAMILIES = {
    family.name: family
    for module in (
        chance_builds,
        chance_images,
        planted_engines,
        planted_tables,
        planted_broken,
    )
    for family in module.FAMILIES
}
