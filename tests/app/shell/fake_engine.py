"""A client that sends nothing: tests play the engine and replay its events."""

from PySide6.QtCore import QObject, Signal

from benchvise.app.engine.client import EngineClient
from benchvise.core.checkpoint.records import Checkpoint, Layer, TensorEntry
from benchvise.core.protocol.events import Failed, Finished, Partial, Started
from benchvise.core.protocol.requests import MakePlan, Open
from benchvise.core.protocol.results import LayersOpened, Opened
from benchvise.core.recipe.plan import make_plan


class FakeClient(QObject):
    event = Signal(object)
    asked = Signal(int, object)

    def __init__(self):
        super().__init__()
        self.requests = {}
        self.controls = []
        self.closed = False
        self._callbacks = {}

    def start(self):
        pass

    def ask(self, request, *, done=None, partial=None, failed=None, owner=None):  # noqa: ARG002 - owners outlive a test
        number = len(self.requests) + 1
        self.requests[number] = request
        self._callbacks[number] = (done, partial, failed)
        self.asked.emit(number, request)
        return number

    def control(self, number, action):
        self.controls.append((number, action))

    def close(self):
        self.closed = True

    def say(self, event):
        done, partial, failed = self._callbacks.get(event.request, (None, None, None))
        if isinstance(event, Finished) and done:
            done(event.result)
        elif isinstance(event, Partial) and partial:
            partial(event.record)
        elif isinstance(event, Failed) and failed:
            failed(event)
        self.event.emit(event)

    def numbers(self, kind):
        return [number for number, request in self.requests.items() if isinstance(request, kind)]

    def last(self, kind):
        return self.numbers(kind)[-1]

    def start_job(self, kind):
        number = self.last(kind)
        self.say(Started(number))
        return number

    def open(self, document, checkpoint):
        """Play a whole opening, layers in two parts."""
        document.open(checkpoint.path)
        number = self.last(Open)
        half = len(checkpoint.layers) // 2
        for part in (checkpoint.layers[:half], checkpoint.layers[half:]):
            self.say(Partial(number, LayersOpened(part)))
        bare = Checkpoint(checkpoint.path, checkpoint.format, (), checkpoint.config)
        self.say(Finished(number, Opened(bare)))

    def plan(self, checkpoint):
        """Answer the last request for a plan as the engine would."""
        from benchvise.core.engine import planned

        number = self.last(MakePlan)
        self.say(Finished(number, planned(make_plan(checkpoint, self.requests[number].recipe, allow_empty=True))))


assert {"ask", "control", "close", "start"} <= set(vars(EngineClient))


def layer(name, role="linear", shape=(64, 64), dtype="float32", kind="linear", depth=None):
    size = 4 if dtype == "float32" else 2
    count = 1
    for side in shape:
        count *= side
    return Layer(name, TensorEntry(f"{name}.weight", dtype, shape, "f", 0, count * size), role, kind, depth)


def network(blocks=3):
    layers = [layer("model.embed_tokens", "embedding", (512, 64), kind="embedding")]
    for depth in range(blocks):
        base = f"model.layers.{depth}"
        layers.append(layer(f"{base}.norm", "norm", (64,), kind="norm", depth=depth))
        layers += [layer(f"{base}.attn.{n}_proj", f"attention.{n}", depth=depth) for n in "qkvo"]
        layers.append(layer(f"{base}.mlp.up_proj", "mlp.up", (172, 64), "bfloat16", depth=depth))
    return Checkpoint("/models/tiny", "safetensors", tuple(layers), {"architectures": ["LlamaForCausalLM"]})
