import torch

from wherewhen.semi import UNKNOWN, Dense, MultiLabel, SingleLabel


def test_single_label_is_itself() -> None:
    raw = torch.randn(5, 3)
    assert torch.equal(SingleLabel().logits(raw), raw)
    assert SingleLabel().targets(torch.tensor([0, 2, UNKNOWN])).tolist() == [0, 2, UNKNOWN]


def test_many_labels_are_binary_decisions_whose_softmax_is_the_sigmoid() -> None:
    raw = torch.randn(5, 3)
    p = MultiLabel().logits(raw).softmax(-1)
    assert p.shape == (5, 3, 2)
    torch.testing.assert_close(p[..., 1], raw.sigmoid())
    torch.testing.assert_close(p[..., 0], 1 - raw.sigmoid())


def test_dense_logits_and_targets_keep_the_pixel_order() -> None:
    raw, y = torch.randn(2, 3, 4, 5), torch.randint(0, 3, (2, 4, 5))
    logits, targets = Dense().logits(raw), Dense().targets(y)
    assert logits.shape == (40, 3)
    pixel = (1 * 4 + 2) * 5 + 3  # image 1, row 2, column 3
    assert torch.equal(logits[pixel], raw[1, :, 2, 3])
    assert targets[pixel] == y[1, 2, 3]


def test_only_dense_labels_move_with_the_pixels() -> None:
    x = torch.arange(8)  # (N·H·W) of 2 images, 2 × 2
    valid = torch.ones(2, 2, 2, dtype=torch.bool)
    valid[0, 0, 0] = False
    flipped = torch.tensor([[[0.5, -0.5], [-0.5, -0.5]], [[0.5, 0.5], [-0.5, 0.5]]]).expand(2, 2, 2, 2)
    assert SingleLabel().carry(x, flipped, valid, -1) is x
    assert MultiLabel().carry(x, flipped, valid, -1) is x
    assert Dense().carry(x, flipped, valid, -1).tolist() == [-1, 0, 3, 2, 5, 4, 7, 6]
    soft = torch.rand(8, 3)
    assert torch.equal(Dense().carry(soft, flipped, torch.ones_like(valid), 0)[1], soft[0])
