"""Instance families with provenance and, where known, the exact answer.

- `lp_instances`: robustness of the MNIST network published with DeepSplit (ShaoruChen/DeepSplit, mnist_fc.pth,
  784-600-400-200-100-10) on test images 0..4 at radius 0.01, 0.02 and 0.05, with Fast-Lin or interval pre-activation
  bounds and the exact optimum of the triangle relaxation per row (HiGHS 1.15.1, checked by a dual certificate).
- `train_digits`: the small digit classifier of the demo, trained on scikit-learn's digits (UCI Optical Recognition of
  Handwritten Digits, E. Alpaydin and C. Kaynak, CC BY 4.0), with 12 of its test images.
"""
