"""Ready-made networks; any ``nn.Module`` that maps (b, ...) to logits (b, n_classes) will do.

References
----------
.. [He16] He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", CVPR 2016.
.. [WK18] Wong, Kolter, "Provable Defenses against Adversarial Examples via the Convex Outer
   Adversarial Polytope", ICML 2018.
.. [ZE19] Zhang, Evans, "Cost-Sensitive Robustness against Adversarial Examples", ICLR 2019.
"""

from smoothcs.modules.augment import Augment as Augment
from smoothcs.modules.conv import conv_net as conv_net
from smoothcs.modules.conv import small_conv as small_conv
from smoothcs.modules.default import default_module as default_module
from smoothcs.modules.dense import MLP as MLP
from smoothcs.modules.dense import Normalize as Normalize
from smoothcs.modules.resnet import cifar_resnet20 as cifar_resnet20
from smoothcs.modules.resnet import cifar_resnet56 as cifar_resnet56
from smoothcs.modules.resnet import cifar_resnet110 as cifar_resnet110
from smoothcs.modules.resnet import resnet18 as resnet18
