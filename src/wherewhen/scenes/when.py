"""When an image was taken: from its tags or its name."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime

_FIRST, _NOW = 1972, datetime.now(UTC)  # the first Landsat; nothing is taken tomorrow

# Tags that mean the acquisition, in this order; GDAL writes TIFFTAG_DATETIME from many programs, often as the time of
# writing, so it comes after the name.
_TAGS = (
    *("ACQUISITIONDATETIME", "ACQUISITION_DATETIME", "ACQUISITION_DATE", "DATE_ACQUIRED", "SENSING_TIME"),
    *("PRODUCT_START_TIME", "DATETIME"),
)
_LAST = "TIFFTAG_DATETIME"

_FORMATS = (
    *("%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S", "%Y:%m:%d %H:%M:%S", "%Y%m%dT%H%M%S", "%Y%m%d %H%M%S"),
    *("%Y-%m-%d", "%Y:%m:%d", "%Y%m%d", "%Y/%m/%d"),
)

# In names, the first that fits: a date and a time, a day of the year and a time (HLS), a date (Landsat, NAIP).
_IN_NAMES = (
    (r"(?<!\d)((?:19|20)\d{6}[T_]\d{6})(?!\d)", "%Y%m%dT%H%M%S", "YYYYMMDDTHHMMSS"),
    (r"(?<!\d)((?:19|20)\d{5}T\d{6})(?!\d)", "%Y%jT%H%M%S", "YYYYDDDTHHMMSS"),
    (r"(?<!\d)((?:19|20)\d{2}[-_]\d{2}[-_]\d{2})(?!\d)", "%Y-%m-%d", "YYYY-MM-DD"),
    (r"(?<!\d)((?:19|20)\d{6})(?!\d)", "%Y%m%d", "YYYYMMDD"),
)


def time_of(tags: Mapping[str, str], name: str) -> tuple[datetime | None, str]:
    """The time in UTC and what told it, or None and an empty text.

    Names of Sentinel-2's old format (`_OPER_`) hold the time of processing, which is not taken.
    """
    tags = {key.upper(): value for key, value in tags.items()}
    for key in _TAGS:
        if key in tags and (time := written(tags[key])):
            return time, f"tag {key}"
    if "_OPER_" not in name:
        for pattern, form, title in _IN_NAMES:
            for found in re.finditer(pattern, name):
                text = found[1].replace("_", "T" if "T" in form else "-")
                if time := _parsed(text, form):
                    return time, f"{title} in the name"
    if _LAST in tags and (time := written(tags[_LAST])):
        return time, f"tag {_LAST}"
    return None, ""


def written(text: str) -> datetime | None:
    """The time in UTC that a text says, whose form is anyone's; None where it says none, or one that cannot be."""
    text = text.strip().strip('"')
    try:
        return sane(datetime.fromisoformat(text))
    except ValueError:
        return next((time for form in _FORMATS if (time := _parsed(text, form))), None)


def _parsed(text: str, form: str) -> datetime | None:
    try:
        return sane(datetime.strptime(text, form))
    except ValueError:
        return None


def sane(time: datetime) -> datetime | None:
    """The time in UTC, which one without a zone is; None where no satellite can have taken an image."""
    time = time if time.tzinfo else time.replace(tzinfo=UTC)
    return time.astimezone(UTC) if time.year >= _FIRST and time <= _NOW else None
