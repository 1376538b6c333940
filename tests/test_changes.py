from searcher.changes import Change, changes


def test_changes_as_practitioners_state_them():
    before = {"top1": 0.95, "params": 1000.0, "fps": 100.0, "sparsity": 0.0, "micronet_score:imt-2022": 2.0}
    after = {
        "mine": 3.0,
        "micronet_score:imt-2022": 0.05,
        "params": 400.0,
        "sparsity": 0.651,
        "fps": 250.0,
        "top1": 0.9375,
        "size_mb": 0.125,
    }
    assert changes(before, after) == [
        Change("top-1 accuracy", "95.00%", "93.75%", "-1.25 points"),
        Change("size of the file", "", "0.1250 MB", ""),
        Change("images a second", "100", "250", "× 2.50"),
        Change("weights that are zero", "0.00%", "65.10%", ""),
        Change("parameters", "1,000", "400", "÷ 2.50"),
        Change("score imt-2022", "2.0000", "0.05000", "÷ 40.00"),
        Change("mine", "", "3.0000", ""),
    ]


def test_a_figure_that_grew_is_multiplied():
    before = {"inference_memory_mb": 24.3507, "fps": 5000.0, "macs": 7.0}
    assert changes(before, {"inference_memory_mb": 35.2133, "fps": 2500.0, "macs": 7.0}) == [
        Change("images a second", "5,000", "2,500", "÷ 2.00"),
        Change("memory of the model", "24.35 MB", "35.21 MB", "× 1.45"),
        Change("multiply-accumulates", "7.0000", "7.0000", "unchanged"),
    ]


def test_nothing_is_divided_by_zero():
    assert changes({"macs": 5.0, "fps": 0.0}, {"macs": 0.0, "fps": 1.0}) == [
        Change("images a second", "0.0000", "1.0000", ""),
        Change("multiply-accumulates", "5.0000", "0.0000", ""),
    ]
