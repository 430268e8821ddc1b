"""AdamW with one learning rate for the encoder and one for everything else."""

import weakref
from collections.abc import Iterator
from typing import Any, cast

import torch
from spacy.util import registry
from thinc.api import Optimizer
from torch import nn

from ..gone import refuse_gone
from ..registering import refuse_quoted_numbers

# thinc says Generator where any iterator will do.
FloatOrSchedule = float | Iterator[float]


@registry.optimizers("spacy_multitask.AdamW.v1")
@refuse_quoted_numbers
def make_adamw(
    learn_rate: FloatOrSchedule = 3e-4,
    head_learn_rate: FloatOrSchedule = 1e-3,
    weight_decay: float = 0.01,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
    grad_clip: float = 1.0,
    layer_decay: float = 1.0,
    new_lr_scale: float = 5.0,
    use_averages: bool = False,
    pretrained_decay: float = 0.0,
) -> "AdamW":
    """Build the optimizer of `[training.optimizer]`.

    learn_rate (float or schedule): For modules that hold a pretrained encoder.
    head_learn_rate (float or schedule): For the heads and for spaCy's own components.
    weight_decay (float): Decoupled decay; never on biases, layer norms and other vectors.
    grad_clip (float): Largest gradient norm of one component; 0 leaves gradients alone.
    layer_decay (float): Factor on the rate for each encoder layer further from the top; 1 is off.
    new_lr_scale (float): Factor on the rate for weights of the encoder that are not pretrained: the
        embedding of word shapes, the weights of mixed layers, and adapters. They start from
        nothing, and at the rate of the rest would not get far in a short training.
    use_averages (bool): Keep an average of the weights; spaCy scores and saves that.
    pretrained_decay (float): Gone; configs of 0.1.0 have it.

    RAISES (ValueError): If a number is out of its range.

    Source: Loshchilov and Hutter (2019), https://arxiv.org/abs/1711.05101
    """
    refuse_gone("training.optimizer.pretrained_decay", pretrained_decay, 0.0, "Take the line out.")
    # Schedules check themselves.
    numbers = {
        "learn_rate": learn_rate,
        "head_learn_rate": head_learn_rate,
        "weight_decay": weight_decay,
        "grad_clip": grad_clip,
        "layer_decay": layer_decay,
        "new_lr_scale": new_lr_scale,
    }
    for name, value in numbers.items():
        if isinstance(value, int | float) and value < 0:
            off = " 0 leaves gradients alone." if name == "grad_clip" else ""
            raise ValueError(f"{name} = {value} must not be negative.{off}")
    for name, value in {"beta1": beta1, "beta2": beta2}.items():
        if not 0 <= value < 1:
            raise ValueError(f"{name} = {value} must be at least 0 and less than 1.")
    if eps <= 0:
        raise ValueError(f"eps = {eps} must be greater than 0.")
    return AdamW(
        learn_rate,
        head_learn_rate,
        weight_decay=weight_decay,
        beta1=beta1,
        beta2=beta2,
        eps=eps,
        grad_clip=grad_clip,
        layer_decay=layer_decay,
        new_lr_scale=new_lr_scale,
        use_averages=use_averages,
    )


class AdamW(Optimizer):
    """thinc's optimizer interface; torch modules are stepped by torch's fused AdamW.

    Components built from thinc layers (spaCy's parser, say) call it once per array as they call
    any thinc optimizer, and get the heads' learning rate.
    """

    head_learn_rate: float
    # thinc keeps arrays here; for torch modules they are tensors.
    averages: dict[Any, Any] | None

    def __init__(
        self,
        learn_rate: FloatOrSchedule,
        head_learn_rate: FloatOrSchedule,
        *,
        weight_decay: float,
        beta1: float,
        beta2: float,
        eps: float,
        grad_clip: float,
        layer_decay: float,
        new_lr_scale: float,
        use_averages: bool,
    ):
        super().__init__(
            cast(Any, learn_rate),
            L2=weight_decay,
            beta1=beta1,
            beta2=beta2,
            eps=eps,
            grad_clip=grad_clip,
            use_averages=use_averages,
            L2_is_weight_decay=True,
        )
        self._set_attr_or_schedule("head_learn_rate", head_learn_rate)
        self.layer_decay = layer_decay
        self.new_lr_scale = new_lr_scale
        self._torch: dict[int, list[torch.optim.Optimizer]] = {}
        # Module that the optimizers above are for: loading a pipeline puts another in its place.
        self._modules: dict[int, weakref.ref[nn.Module]] = {}
        self._devices: dict[int, torch.device] = {}

    def __getstate__(self) -> tuple[dict[str, Any], dict[str, Any]]:
        # What belongs to modules does not go along into another process, where they are others.
        own = {**self.__dict__, "_torch": {}, "_modules": {}, "_devices": {}}
        slots = [name for cls in type(self).__mro__ for name in getattr(cls, "__slots__", ())]
        return own, {name: getattr(self, name) for name in slots if hasattr(self, name)}

    def __call__(
        self, key: tuple[int, str], weights: Any, gradient: Any, *, lr_scale: float = 1.0
    ) -> Any:
        encoder_rate, self.learn_rate = self.learn_rate, self.head_learn_rate
        try:
            return super().__call__(key, weights, gradient, lr_scale=lr_scale)
        finally:
            self.learn_rate = encoder_rate

    def step_module(self, key: int, module: nn.Module) -> None:
        """Take one step with the gradients on a module's parameters, then clear them.

        key (int): Names the module; its moments are kept under it, until another module comes
            under the same name.
        module (nn.Module): Parameters without a gradient are left alone.
        """
        parameters = [p for p in module.parameters() if p.grad is not None]
        if not parameters:
            return
        if not self._knows(key, module):
            sparse = {n for n, p in module.named_parameters() if _has_sparse_gradient(p)}
            self._begin(key, module, sparse)
        self._move(key, module, parameters[0].device)
        for parameter in filter(_has_sparse_gradient, parameters):
            parameter.grad = _without_zeros(parameter.grad)
        if self.grad_clip:
            clip_gradients(parameters, self.grad_clip)
        rate = self.learn_rate if getattr(module, "is_encoder", False) else self.head_learn_rate
        for optimizer in self._torch[key]:
            for group in optimizer.param_groups:
                group["lr"] = rate * group["scale"]
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        if self.averages is not None:
            self._average(self.averages, key, module)

    def _move(self, key: int, module: nn.Module, device: torch.device) -> None:
        """Bring what is kept of a module to the device that it has moved to."""
        if self._devices.get(key, device) != device:
            for optimizer in self._torch[key]:
                # It casts and moves all that it loads.
                optimizer.load_state_dict(optimizer.state_dict())
            for name, _ in module.named_parameters():
                if self.averages is not None and (key, name) in self.averages:
                    self.averages[key, name] = self.averages[key, name].to(device)
        self._devices[key] = device

    def _knows(self, key: int, module: nn.Module) -> bool:
        return key in self._modules and self._modules[key]() is module

    def _begin(self, key: int, module: nn.Module, sparse_names: set[str]) -> None:
        """Forget what was kept under the key, and get ready to step this module."""
        if key in self._modules:
            for name, _ in module.named_parameters():
                self.nr_update.pop((key, name), None)
                if self.averages is not None:
                    self.averages.pop((key, name), None)
        self._torch[key] = self._build(module, sparse_names)
        self._devices.pop(key, None)
        self._modules[key] = weakref.ref(module)

    def _build(self, module: nn.Module, sparse_names: set[str]) -> list[torch.optim.Optimizer]:
        groups: dict[tuple[bool, float], list[nn.Parameter]] = {}
        sparse: dict[float, list[nn.Parameter]] = {}
        for name, parameter in module.named_parameters():
            if not parameter.requires_grad:
                continue
            scale = self._scale(module, name)
            if name in sparse_names:
                sparse.setdefault(scale, []).append(parameter)
            else:
                # Biases and layer norms are the vectors: decaying them only costs accuracy.
                groups.setdefault((parameter.ndim > 1, scale), []).append(parameter)
        optimizers: list[torch.optim.Optimizer] = []
        if groups:
            dense = [
                {"params": params, "weight_decay": self.L2 if decays else 0.0, "scale": scale}
                for (decays, scale), params in groups.items()
            ]
            betas = (self.b1, self.b2)
            optimizers.append(
                torch.optim.AdamW(dense, lr=0.0, betas=betas, eps=self.eps, fused=True)
            )
        if sparse:
            # Half of a small encoder is its piece embedding, of which a batch uses little. The
            # rows that it does not use stay as they are; they would only drift with old momentum.
            optimizers.append(
                torch.optim.SparseAdam(
                    [{"params": params, "scale": scale} for scale, params in sparse.items()],
                    lr=1e-3,  # replaced at each step; it must not be 0
                    betas=(self.b1, self.b2),
                    eps=self.eps,
                )
            )
        return optimizers

    def module_state(self, key: int, module: nn.Module) -> dict[str, dict[str, Any]] | None:
        """RETURNS (Optional[Dict[str, Dict]]): Moments and number of steps by parameter name and
        torch's own name for them; None if the module never took a step."""
        if not self._knows(key, module):
            return None
        names = {parameter: name for name, parameter in module.named_parameters()}
        return {
            names[parameter]: dict(optimizer.state.get(parameter, {}))
            for optimizer in self._torch[key]
            for group in optimizer.param_groups
            for parameter in group["params"]
        }

    def sparse_names(self, key: int, module: nn.Module) -> list[str]:
        """RETURNS (List[str]): Parameters of which a step changes just the rows in use."""
        sparse = {
            parameter
            for optimizer in self._torch.get(key, [])
            if isinstance(optimizer, torch.optim.SparseAdam)
            for group in optimizer.param_groups
            for parameter in group["params"]
        }
        return [name for name, parameter in module.named_parameters() if parameter in sparse]

    def load_module_state(
        self,
        key: int,
        module: nn.Module,
        state: dict[str, dict[str, Any]],
        sparse_names: list[str],
    ) -> None:
        """Take over what `module_state` and `sparse_names` gave."""
        self._begin(key, module, set(sparse_names))
        parameters = dict(module.named_parameters())
        for optimizer in self._torch[key]:
            own = {parameter for group in optimizer.param_groups for parameter in group["params"]}
            for name, entries in state.items():
                if entries and parameters[name] in own:
                    optimizer.state[parameters[name]] = dict(entries)

    def _scale(self, module: nn.Module, name: str) -> float:
        if not hasattr(module, "depth_from_top"):
            return 1.0
        encoder: Any = module
        scale = self.new_lr_scale if encoder.is_new(name) else 1.0
        return scale * self.layer_decay ** (encoder.depth_from_top(name) or 0)

    def _average(self, averages: dict[Any, Any], key: int, module: nn.Module) -> None:
        by_step: dict[int, list[tuple[torch.Tensor, torch.Tensor]]] = {}
        for name, parameter in module.named_parameters():
            if not parameter.requires_grad:
                continue  # its average is what it is
            self.nr_update[key, name] += 1
            if (key, name) not in averages:
                averages[key, name] = parameter.detach().clone()
            pair = averages[key, name], parameter.detach()
            by_step.setdefault(self.nr_update[key, name], []).append(pair)
        for step, pairs in by_step.items():
            # The same growing window as thinc's update_averages.
            decay = min((1.0 + step) / (10.0 + step), 0.9999)
            own, new = map(list, zip(*pairs))
            torch._foreach_lerp_(own, new, 1.0 - decay)


def _has_sparse_gradient(parameter: nn.Parameter) -> bool:
    return parameter.grad is not None and parameter.grad.is_sparse


def _without_zeros(gradient: torch.Tensor | None) -> torch.Tensor:
    """RETURNS (Tensor): The rows of a sparse gradient with anything in them. Those of docs without
    gold have nothing, and momentum would move them."""
    assert gradient is not None
    gradient = gradient.coalesce()
    used = gradient.values().any(1)
    rows, values = gradient.indices()[:, used], gradient.values()[used]
    return torch.sparse_coo_tensor(
        rows, values, gradient.shape, is_coalesced=True, check_invariants=False
    )


def clip_gradients(parameters: list[nn.Parameter], limit: float) -> None:
    """Scale gradients down to a norm over all of them; torch's own does not take sparse ones."""
    gradients = []
    for parameter in parameters:
        gradient = parameter.grad
        if gradient is None:
            continue
        if gradient.is_sparse:
            parameter.grad = gradient = gradient.coalesce()
            gradients.append(gradient.values())
        else:
            gradients.append(gradient)
    norm = torch.stack(torch._foreach_norm(gradients)).norm()
    torch._foreach_mul_(gradients, (limit / (norm + 1e-6)).clamp(max=1.0))
