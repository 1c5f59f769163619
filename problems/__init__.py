"""Instance families with provenance and, where known, the exact answer.

- `lp_instances`: robustness of the MNIST network published with DeepSplit (ShaoruChen/DeepSplit, mnist_fc.pth,
  784-600-400-200-100-10) on test images 0..4 at radius 0.01, 0.02 and 0.05, with Fast-Lin or interval pre-activation
  bounds and the exact optimum of the triangle relaxation per row (HiGHS 1.15.1, checked by a dual certificate).
- `crown_family` and `root_instances`: that network, mnist_fc and oval21 of VNN-COMP, and resnet_2b, with the root
  bounds of auto_LiRPA where they are stored.
- `mnist_images`: test images of MNIST (Y. LeCun, C. Cortes, C. Burges) as the shared data set holds them.
- `feedback`: systems with networks in feedback (nfl_veripy, DeepSplit, ARCH-COMP, ReachLipBnB) and known areas;
  `train_double_integrator` trains the controller of the embedded one.
- `train_cartpole`: the policy that `admm-verify policy` shows, and observations that it meets.
- `resnet18`: a random ResNet-18 for 32 x 32 images.
- `train_digits`: the small digit classifier of the demo, trained on scikit-learn's digits (UCI Optical Recognition of
  Handwritten Digits, E. Alpaydin and C. Kaynak, CC BY 4.0), with 12 of its test images.
- `differential`: the pairs of networks of the shared data set, and NeuroDiff's figures.
- `pairs`: makers of a second network: rounded to 16 bits, quantised, pruned, narrower, trained further, disturbed.
"""
