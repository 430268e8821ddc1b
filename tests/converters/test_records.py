import pytest

from spacy_multitask.converters import ConversionError
from spacy_multitask.converters.records import read_records


def test_lines_and_lists_give_the_same_records(write):
    lines = list(read_records(write('{"a": 1}\n\n{"a": 2}\n')))
    assert [(record.line, record.fields) for record in lines] == [(1, {"a": 1}), (3, {"a": 2})]
    in_list = list(read_records(write('\n[{"a": 1},\n {"a": 2}]\n', "a.json.gz")))
    assert [(r.line, r.fields) for r in in_list] == [("record 1", {"a": 1}), ("record 2", {"a": 2})]
    assert list(read_records(write("\n[]\n"))) == []


@pytest.mark.parametrize(
    "text, message",
    [
        ('{"a": 1}\n{"a": \n', r"corpus.txt:2: this is not JSON: Expecting value at character 7"),
        ('{"a": 1}\n[1]\n', r"corpus.txt:2: \[1\] is not an object"),
        ("7\n", r"corpus.txt:1: 7 is not an object"),
        ('[{"a": 1},\n{"b" 1}]', r"corpus.txt:2: this is not JSON: Expecting ':' delimiter at cha"),
        ('[{"a": 1}, "b"]', r"corpus.txt, record 2: 'b' is not an object"),
        ('{"a": ' + "[" * 100_000, r"corpus.txt:1: this JSON can't be read: "),
        ('{"a": ' + "9" * 10_000 + "}", r"corpus.txt:1: this JSON can't be read: "),
    ],
)
def test_what_is_no_record_is_an_error_with_its_place(write, text, message):
    with pytest.raises(ConversionError, match=message):
        list(read_records(write(text)))


def test_fields_of_another_kind_are_errors_that_name_them(write):
    text = '{"a": 1, "b": true, "c": {"d": []}, "e": [{"f": null}, 3], "g": ["x", 2, ""]}'
    (record,) = read_records(write(text))
    assert record.get("a", int) == 1 and record.get("b", bool) is True
    assert record.within("c").get("d", list) == [] and record.within("z") is None
    for get, message in [
        (lambda: record.get("a", str), "corpus.txt:1: a is 1, but must be a text."),
        (lambda: record.get("b", int), "corpus.txt:1: b is True, but must be a whole number."),
        (
            lambda: record.get("z", str),
            "there is no z, which must be a text. The record has a, b, c",
        ),
        (lambda: record.within("c").get("d", str), "c.d is [], but must be a text."),
        (lambda: record.items("e"), "e[1] is 3, but must be an object."),
        (lambda: record.texts("g"), "g holds '', but must hold texts that are not empty."),
        (lambda: record.texts("z"), "there is no z, which must be a list"),
    ]:
        with pytest.raises(ConversionError) as error:
            get()
        assert message in str(error.value)
