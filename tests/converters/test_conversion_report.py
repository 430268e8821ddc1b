from spacy_multitask.converters.report import error_at


def test_the_report_counts_causes_and_keeps_the_first_place(report):
    report.add_cause("cut", "a.txt", 3)
    report.add_cause("cut", "a.txt", 9)
    assert report.causes["cut"].count == 2
    assert "2 x cut (first at a.txt:3)" in report.render()


def test_places_that_are_no_lines_have_their_name(report):
    report.add_cause("cut", "a.json", "record 2", count=3)
    assert "3 x cut (first at a.json, record 2)" in report.render()
    assert str(error_at("a.json", "record 2", "bad.")) == "a.json, record 2: bad."
    assert str(error_at("a.txt", 2, "bad.")) == "a.txt:2: bad."


def test_the_ten_most_frequent_spans_that_cut_a_token_are_shown(report):
    for i in range(12):
        report.misaligned[f"'a' of 'a{i}'"] += 12 - i
    shown = report.render().partition("the most frequent:\n")[2].splitlines()
    assert shown == [f"    {12 - i} x 'a' of 'a{i}'" for i in range(10)]
