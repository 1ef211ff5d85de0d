import json
from pathlib import Path

import pytest

from wherewhen.ingest.nomenclature import CLASSES_19, CLASSES_43, FROM_43_TO_19


def test_sizes_and_order() -> None:
    assert len(CLASSES_43) == len(set(CLASSES_43)) == 43
    assert len(CLASSES_19) == len(set(CLASSES_19)) == 19
    assert tuple(FROM_43_TO_19) == CLASSES_43
    assert list(CLASSES_19) == sorted(CLASSES_19)
    assert CLASSES_43[0] == "Continuous urban fabric"  # CORINE 111
    assert CLASSES_43[-1] == "Sea and ocean"  # CORINE 523


@pytest.mark.parametrize(
    ("group", "members"),  # the nomenclature's own wording, class by class
    [
        ("Urban fabric", {"Continuous urban fabric", "Discontinuous urban fabric"}),
        ("Industrial or commercial units", {"Industrial or commercial units"}),
        ("Arable land", {"Non-irrigated arable land", "Permanently irrigated land", "Rice fields"}),
        (
            "Permanent crops",
            {
                "Vineyards",
                "Fruit trees and berry plantations",
                "Olive groves",
                "Annual crops associated with permanent crops",
            },
        ),
        ("Pastures", {"Pastures"}),
        ("Complex cultivation patterns", {"Complex cultivation patterns"}),
        (
            "Land principally occupied by agriculture, with significant areas of natural vegetation",
            {"Land principally occupied by agriculture, with significant areas of natural vegetation"},
        ),
        ("Agro-forestry areas", {"Agro-forestry areas"}),
        ("Broad-leaved forest", {"Broad-leaved forest"}),
        ("Coniferous forest", {"Coniferous forest"}),
        ("Mixed forest", {"Mixed forest"}),
        ("Natural grassland and sparsely vegetated areas", {"Natural grassland", "Sparsely vegetated areas"}),
        ("Moors, heathland and sclerophyllous vegetation", {"Moors and heathland", "Sclerophyllous vegetation"}),
        ("Transitional woodland, shrub", {"Transitional woodland/shrub"}),
        ("Beaches, dunes, sands", {"Beaches, dunes, sands"}),
        ("Inland wetlands", {"Inland marshes", "Peatbogs"}),
        ("Coastal wetlands", {"Salt marshes", "Salines"}),
        ("Inland waters", {"Water courses", "Water bodies"}),
        ("Marine waters", {"Coastal lagoons", "Estuaries", "Sea and ocean"}),
        (
            None,
            {
                "Road and rail networks and associated land",
                "Port areas",
                "Airports",
                "Mineral extraction sites",
                "Dump sites",
                "Construction sites",
                "Green urban areas",
                "Sport and leisure facilities",
                "Bare rock",
                "Burnt areas",
                "Intertidal flats",
            },
        ),
    ],
)
def test_members_of_each_group(group: str | None, members: set[str]) -> None:
    assert {name for name, of in FROM_43_TO_19.items() if of == group} == members


@pytest.mark.data
def test_order_of_the_published_label_vectors(real_data: Path) -> None:
    assert list(CLASSES_19) == json.loads((real_data / "bigearthnet_v2" / "ben_19_class_names.json").read_text())
