"""The numbers of an experiment for programs."""

from __future__ import annotations

import json

from rsitr.tables import metrics
from tests.helpers.lab import Records, params

CHOSEN = params((["ucm"], ["vse"], [0, 1]), (["ucm"], ["vse@tel"], [0], "ablation"))


def test_every_epoch_with_its_role_and_means_of_complete_rows_alone(tmp_path):
    lab = Records(tmp_path)
    lab.put("ucm", "vse", 0, 40.0)
    lab.put("ucm", "vse@tel", 0, 30.0)
    for method, losses in (("vse", ("2.5", "2.0")), ("vse@tel", ("3.0",))):
        lines = [f"{epoch},{loss},10.0,1e-3" for epoch, loss in enumerate(losses, start=1)]
        history = lab.cells / "lab" / "ucm" / method / "0" / "history.csv"
        history.write_text("\n".join(["epoch,loss,val_mr,learning_rate", *lines]) + "\n", encoding="utf-8")
    numbers, training = metrics.build(lab.view(CHOSEN), lab.out)
    assert training.read_text(encoding="utf-8").splitlines() == [
        "dataset,method,role,seed,epoch,loss,val_mr",
        "ucm,vse,main,0,1,2.5,10.0",
        "ucm,vse,main,0,2,2.0,10.0",
        "ucm,vse@tel,ablation,0,1,3.0,10.0",
    ]
    expected = {"mr": 30.0, "dup_mr": 31.0, "i2t_r1": 30.0, "t2i_r1": 30.0}
    assert json.loads(numbers.read_text(encoding="utf-8")) == {"ucm": {"vse@tel": expected}}
