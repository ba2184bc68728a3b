from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from noria.errors import DataError
from noria.features.ts import read_ts

HEADER = "# words\n@problemName Words\n@timeStamps false\n@classLabel true yes no\n@data\n"


def written(folder: Path, text: str) -> Path:
    path = folder / "words.ts"
    path.write_text(text)
    return path


def test_ragged_channels_missing_values_and_labels(tmp_path: Path) -> None:
    text = HEADER + "1,2,3:4,?,6:yes\n\n# between\n-1e-1,NaN:7,8:no\n"
    cases = read_ts(written(tmp_path, text))
    first, second = cases.sequences
    np.testing.assert_array_equal(first, [[1, 4], [2, np.nan], [3, 6]])
    np.testing.assert_array_equal(second, [[-0.1, 7], [np.nan, 8]])
    assert cases.labels is not None
    assert cases.labels.tolist() == ["yes", "no"]
    assert cases.channels == ("channel_0", "channel_1")
    assert cases.ids == ("0", "1")
    assert cases.lengths.tolist() == [3, 2]


def test_a_file_without_labels(tmp_path: Path) -> None:
    cases = read_ts(written(tmp_path, "@classLabel false\n@DATA\n1,2\n3,4\n"))
    assert cases.labels is None
    assert [sequence.tolist() for sequence in cases.sequences] == [[[1], [2]], [[3], [4]]]


def test_a_file_of_numbers_to_predict(tmp_path: Path) -> None:
    text = "@targetlabel true\n@data\n1,2:3,4:-0.5\n1,2:3,?: 1e2\n5:6:?\n"
    cases = read_ts(written(tmp_path, text))
    assert cases.targets
    assert cases.labels is not None
    np.testing.assert_array_equal(cases.labels, [-0.5, 100.0, np.nan])
    assert [len(sequence) for sequence in cases.sequences] == [2, 2, 1]
    assert not read_ts(written(tmp_path, HEADER + "1:yes\n")).targets


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no line @data; is it a .ts file?"),
        ("1,2,3\n", "line 1: expected a line of the header"),
        (HEADER, "holds no cases after @data"),
        (HEADER + "1,x,3:yes\n", "line 6, channel 0, value 1: 'x' is not a number; write ?"),
        (HEADER + "1,,3:yes\n", "line 6, channel 0, value 1: '' is not a number"),
        (HEADER + "1,inf:yes\n", "line 6, channel 0, value 1: the number is infinite"),
        (HEADER + "1:1,-2e200:yes\n", "line 6, channel 1, value 1: -2e200 is too large a number"),
        (HEADER + "1,2:maybe\n", "line 6: the label 'maybe' is none of yes, no"),
        (HEADER + "yes\n", "line 6: holds a label and no values"),
        (HEADER + "1,2:3:yes\n", "line 6: channel 1 has 1 values, channel 0 has 2"),
        (HEADER + "1:2:yes\n1:no\n", "line 7: has 1 channels, the first case has 2"),
        ("@classLabel true\n@data\n1,2:\n", "line 3: the label is missing"),
        ("@classLabel\n@data\n", "line 1: @classLabel takes true or false"),
        ("@dimensions no\n@data\n", "line 1: @dimensions takes a whole number"),
        ("@dimensions 2\n@data\n1,2\n", "line 3: has 1 channels, the header says 2"),
        ("@univariate true\n@data\n1:2\n", "line 3: has 2 channels, the header says 1"),
        ("@equalLength true\n@data\n1,2\n1\n", "line 4: has 1 steps, the first case has 2"),
        (
            "@equalLength true\n@seriesLength 3\n@data\n1,2\n",
            "line 4: has 2 steps, the header says 3",
        ),
        ("@timeStamps true\n@data\n", "line 1: time stamps inside the cases are not read"),
        ("@targetLabel\n@data\n", "line 1: @targetLabel takes true or false"),
        (
            "@classLabel true\n@targetLabel true\n@data\n",
            "line 3: the header says @classLabel true and @targetLabel true",
        ),
        (
            "@targetLabel true\n@data\n1,2:much\n",
            "line 3, label, value 0: 'much' is not a number",
        ),
        ("@targetLabel true\n@data\n1,2:inf\n", "line 3, label, value 0: the number is infinite"),
        ("@targetLabel true\n@data\n0.5\n", "line 3: holds a label and no values"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError) as caught:
        read_ts(written(tmp_path, text))
    assert str(caught.value).startswith(f"{tmp_path}/words.ts")
    assert message in str(caught.value)


def test_no_such_file_and_no_text(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no such file"):
        read_ts(tmp_path / "none.ts")
    with pytest.raises(DataError, match="is a directory"):
        read_ts(tmp_path)
    (tmp_path / "binary.ts").write_bytes(bytes(range(256)))
    with pytest.raises(DataError, match="is not UTF-8 text"):
        read_ts(tmp_path / "binary.ts")


@pytest.mark.parametrize(
    ("name", "cases", "channels", "shortest", "longest", "classes"),
    [
        ("JapaneseVowels", 270, 12, 7, 26, 9),
        ("ArrowHead", 36, 1, 251, 251, 3),
        ("GunPoint", 50, 1, 150, 150, 2),
        ("BasicMotions", 40, 6, 100, 100, 4),
    ],
)
def test_the_archives_own_files(
    shared_data: Path,
    name: str,
    cases: int,
    channels: int,
    shortest: int,
    longest: int,
    classes: int,
) -> None:
    path = shared_data / "series" / "classification" / name / f"{name}_TRAIN.ts"
    read = read_ts(path)
    assert (len(read), len(read.channels)) == (cases, channels)
    assert (read.lengths.min(), read.lengths.max()) == (shortest, longest)
    assert len(np.unique(read.labels)) == classes
    assert all(np.isfinite(sequence).all() for sequence in read.sequences)
