"""The correction goes where the student goes."""

import torch

from tests.semi.test_processes import Tiny
from wherewhen.semi import CDMAD, Average, Clock, MultiLabel, SpatioTemporal

WHITE = torch.ones(1, 3, 2, 2)


def objective(start: int) -> SpatioTemporal:
    teacher, student = Tiny(0), Tiny(1)
    return SpatioTemporal(teacher, student, Average(teacher, 0.5), CDMAD(start, [0.9, 0.6]), MultiLabel())


def step(trained: SpatioTemporal, number: int) -> None:
    g = torch.Generator().manual_seed(number)
    images = {view: torch.randn(4, 3, 2, 2, generator=g) for view in ("labelled", "weak", "strong")}
    where = {view: torch.rand(4, 3, generator=g) for view in images}
    trained(images | {"blank": WHITE}, where, torch.ones(4, 3), Clock(number, 9))
    trained.after_step()


def test_the_students_own_answer_to_nothing_is_taken_off_from_the_start_step_on() -> None:
    trained, images = objective(start=2), torch.randn(5, 3, 2, 2)
    plain = MultiLabel().logits(trained.student_ema(images).logits)
    bias = MultiLabel().logits(trained.student_ema(WHITE).logits)
    teachers = MultiLabel().logits(trained.ema(WHITE).logits)
    for number in (0, 1):
        step(trained, number)
        assert torch.equal(trained.predict(images, WHITE), plain)
    step(trained, 2)
    torch.testing.assert_close(trained.predict(images, WHITE), plain - bias)
    assert not torch.allclose(bias, teachers)


def test_the_correction_is_saved_with_the_student() -> None:
    trained, images = objective(start=1), torch.randn(5, 3, 2, 2)
    step(trained, 1)
    other = objective(start=1)
    other.load_state_dict(trained.state_dict())
    assert torch.equal(other.predict(images, WHITE), trained.predict(images, WHITE))
    assert not torch.equal(other.predict(images, WHITE), other.predict(images, torch.zeros(1, 3, 2, 2)))
