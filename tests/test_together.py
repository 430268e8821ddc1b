"""What part of all processes' items this one has."""

from spacy_multitask.together import shares, together


def test_one_process_has_all_and_is_not_asked_to_count():
    def count():
        raise AssertionError

    assert shares(count)["anything"] == 1.0


def test_of_several_each_has_its_part():
    def sums(numbers: list[float]) -> list[float]:
        assert numbers == [1.0, 0.0, 0.0]
        return [4.0, 5.0, 0.0]

    with together(sums):
        found = shares(lambda: {"tags": 1.0, "pos": 0.0, "nobody": 0.0})
    assert found == {"tags": 0.25, "pos": 0.0, "nobody": 0.0}
    assert shares(dict)["tags"] == 1.0
