"""The loop: what it learns, that it goes on where it was, how it ends, and what it refuses."""

import io

import numpy as np
import pytest
import torch
from sklearn import datasets
from torch import nn

import admm_verify as av
from admm_verify.errors import InputError, ModelError, UnsupportedOperatorError

PIXELS, DIGITS = datasets.load_digits(return_X_y=True)
IMAGES, LABELS = (PIXELS / 16).astype(np.float32).reshape(-1, 1, 8, 8), DIGITS
TRAINED, HELD = (IMAGES[:400], LABELS[:400]), (IMAGES[1400:], LABELS[1400:])


def net(*, dropout=0.0) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(1, 6, 3, stride=2), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(), nn.Dropout(dropout),
            nn.Linear(54, 10),
        )  # fmt: skip


def settings(**others) -> av.TrainingSettings:
    return av.TrainingSettings(**({"loss": av.MixedLoss(0.02), "epochs": 4, "within": (0.0, 1.0)} | others))


def weights(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def equal(first, second) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def stopping_after(batches):
    """A run whose question is answered with yes after so many batches."""
    asked = iter(range(10**9))
    return av.Run(stop=lambda: next(asked) >= batches)


def test_it_goes_on_bit_for_bit(tmp_path):
    """Stopped in the middle of the third epoch; dropout, moved images and attacks are all drawn again as they were."""
    whole = av.train(net(dropout=0.3), TRAINED, settings(shift=1, keep_best=True), validation=HELD)
    path = tmp_path / "run.safetensors"
    cut = settings(shift=1, keep_best=True, checkpoint=path, checkpoint_every=4)
    first = av.train(net(dropout=0.3), TRAINED, cut, validation=HELD, run=stopping_after(10))
    assert (first.status, len(first.history), first.resumed) == (av.Ended.STOPPED, 2, 0)
    torch.rand(5)  # What others draw meanwhile does not matter.
    second = av.train(net(dropout=0.3), TRAINED, cut, validation=HELD)
    assert (second.status, len(second.history), second.resumed) == (av.Ended.COMPLETE, 4, 2)
    assert repr(second).startswith("Sequential: 4 epochs, complete, ") and "\n" not in repr(second)
    assert equal(weights(second.module), weights(whole.module))
    assert [(one.loss, one.clean, one.certified) for one in second.history] == [
        (one.loss, one.clean, one.certified) for one in whole.history
    ]
    assert second.best_epoch == whole.best_epoch and second.certified == max(
        one.certified for one in whole.history if one.ramp == 1
    )
    again = av.train(net(dropout=0.3), TRAINED, cut, validation=HELD)
    assert again.resumed == 4 and equal(weights(again.module), weights(whole.module))
    with pytest.raises(InputError, match="of another training"):
        av.train(net(), TRAINED, settings(checkpoint=path, rate=0.5))
    path.write_bytes(b"x" * 100)
    with pytest.raises(InputError, match="cannot be read"):
        av.train(net(), TRAINED, cut)


def test_ctrl_c_keeps_the_last_full_epoch(monkeypatch):
    one = av.train(net(), TRAINED, settings(epochs=3), run=stopping_after(4))
    module, told = net(), []

    def tell(progress):
        told.append(progress)
        if progress.done == 6:
            raise KeyboardInterrupt

    found = av.train(module, TRAINED, settings(epochs=3), run=av.Run(tell=tell))
    assert (found.status, len(found.history)) == (av.Ended.STOPPED, 1)
    assert equal(weights(module), weights(one.module)) and not module.training
    assert (told[0].done, told[0].total) == (1, 12) and told[0].text.startswith("epoch 1 of 3, loss ")
    late = av.train(net(), TRAINED, settings(), run=av.Run(timeout=0))
    assert late.status is av.Ended.TIMED_OUT and equal(weights(late.module), weights(net()))


def test_a_line_of_progress_on_terminals_alone(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    for stream, lines in ((Terminal(), 4), (io.StringIO(), 0)):
        monkeypatch.setattr("sys.stderr", stream)
        av.train(net(), TRAINED, settings(epochs=1))
        assert stream.getvalue().count("\r[") == lines and stream.getvalue().endswith("\n") == bool(lines)


def test_what_is_not_trainable():
    with pytest.raises(InputError, match=r"labels reach from 0 to 10, and the module has 10 outputs; .* 0 to 9"):
        av.train(net(), (IMAGES[:10], LABELS[:10] + (LABELS[:10] == 9)), settings())
    with pytest.raises(InputError, match=r"images of shape \[9, 1, 8, 8\] and labels of shape \[8\]"):
        av.train(net(), (IMAGES[:9], LABELS[:8]), settings())
    with pytest.raises(InputError, match="does not take the training data's images"):
        av.train(net(), (IMAGES[:9, :, :2], LABELS[:9]), settings())
    with pytest.raises(InputError, match="NaN"):
        av.train(net(), (IMAGES[:9] * np.nan, LABELS[:9]), settings())
    with pytest.raises(InputError, match="ends before it begins"):
        settings(ramp=(0.5, 0.2))
    with pytest.raises(InputError, match=r"loss holds .*StandardLoss.* give an instance"):
        settings(loss=av.StandardLoss)
    with pytest.raises(UnsupportedOperatorError, match=r"a Tanh, which has no differentiable bounds"):
        av.train(nn.Sequential(nn.Flatten(), nn.Tanh(), nn.Linear(64, 10)), TRAINED, settings())


def test_a_loss_that_is_no_number_names_the_epoch():
    class Breaks:
        eps, batches = 0.0, 0

        def __call__(self, step):
            self.batches += 1
            return step.outputs.square().mean() * (float("nan") if self.batches == 7 else 1.0)

    before = av.train(net(), TRAINED, settings(loss=Breaks(), epochs=2), run=stopping_after(4))
    module = net()
    with pytest.raises(ModelError, match=r"no finite number in epoch 2, at .* Lower rate or clip"):
        av.train(module, TRAINED, settings(loss=Breaks(), epochs=2))
    assert equal(weights(module), weights(before.module))


def test_certified_digits_are_certified_and_exported(tmp_path):
    """A few epochs on intervals; the exported network is verified where the validation was."""
    eps, held = 0.03, (HELD[0][:100], HELD[1][:100])
    chosen = settings(
        loss=av.IntervalLoss(eps), epochs=10, rate=5e-3, batch=50, initialisers=(av.IntervalStart(),),
        penalties=(av.TightnessPenalty(eps),),
    )  # fmt: skip
    found = av.train(net(), (IMAGES[:1400], LABELS[:1400]), chosen, validation=held)
    assert found.clean > 0.85 and 0.5 < found.certified <= found.clean
    path = tmp_path / "digits.onnx"
    av.write_onnx(found.module, torch.tensor(IMAGES[:1]), path)
    network = av.read_onnx(path)
    with torch.no_grad():
        np.testing.assert_allclose(network(IMAGES[:5]), found.module(torch.tensor(IMAGES[:5])), atol=1e-5)
    bounds = av.CertifySettings(bounds="interval", max_passes=0)
    verified = av.certify(network, *held, [eps], settings=bounds).count(av.Answer.VERIFIED)[0]
    # Margins of an image may lie within a rounding of zero.
    assert abs(verified - 100 * found.certified) <= 1.5
