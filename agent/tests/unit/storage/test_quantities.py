# SPDX-License-Identifier: Apache-2.0
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helmet_agent.quantities import QuantityError, format_bytes, parse_bytes, parse_seconds


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0),
        ("1000000", 1_000_000),
        ("2Gi", 2 << 30),
        ("2GiB", 2 << 30),
        ("1.5Ki", 1536),
        ("512 Mi", 512 << 20),
        ("1k", 1000),
        ("3M", 3_000_000),
        ("1T", 10**12),
        ("0.3", 1),
        (4096, 4096),
    ],
)
def test_sizes_read_as_kubernetes_reads_them(text: str | int, expected: int) -> None:
    assert parse_bytes(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", "Gi", "-1", "-1Gi", "2gi", "2K", "1e3", "2 Gi Gi", "nan", "²", "9" * 30, "8796093022208Ti", -1, True, None],
)
def test_what_is_no_size_is_refused_with_the_value(text: object) -> None:
    with pytest.raises(QuantityError, match="expected a size") as caught:
        parse_bytes(text)  # type: ignore[arg-type]  # configuration files hold anything
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize(("text", "hint"), [("2K", "2k for thousands or 2Ki"), ("3g", "3G for thousands or 3Gi")])
def test_a_doubtful_unit_is_explained(text: str, hint: str) -> None:
    with pytest.raises(QuantityError, match=hint):
        parse_bytes(text)


@settings(deadline=None, derandomize=True)
@given(st.integers(0, (1 << 63) - 1))
def test_a_whole_number_of_bytes_reads_back(count: int) -> None:
    assert parse_bytes(str(count)) == count


@settings(deadline=None, derandomize=True)
@given(st.one_of(st.text(max_size=20), st.text("0123456789.kKMGTiBsmhd -", max_size=12)))
def test_any_text_is_read_or_refused(text: str) -> None:
    for read in (parse_bytes, parse_seconds):
        try:
            assert read(text) >= 0
        except QuantityError as error:
            assert "expected" in str(error)  # noqa: PT017 - either outcome is right, each has its law


@pytest.mark.parametrize(
    ("text", "expected"),
    [("500ms", 0.5), ("30s", 30.0), ("1h30m", 5400.0), ("7d", 604800.0), ("0.5h", 1800.0), (0, 0.0), (2.5, 2.5)],
)
def test_durations(text: str | float, expected: float) -> None:
    assert parse_seconds(text) == expected


@pytest.mark.parametrize(
    "text", ["", "5", "1 h", "h", "-1s", "1w", "1000000d", float("nan"), float("inf"), -1, None, False]
)
def test_what_is_no_duration_is_refused(text: object) -> None:
    with pytest.raises(QuantityError, match="expected a duration"):
        parse_seconds(text)  # type: ignore[arg-type]  # configuration files hold anything


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (2 << 30, "2.0 GiB"), (5 << 40, "5.0 TiB")]
)
def test_sizes_for_people(count: int, text: str) -> None:
    assert format_bytes(count) == text
