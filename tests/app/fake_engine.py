"""A client that sends nothing: tests play the engine and replay its events."""

from PySide6.QtCore import QObject, Signal

from benchvise.app.engine.client import EngineClient
from benchvise.core.checkpoint.records import Checkpoint, Layer, TensorEntry
from benchvise.core.protocol.events import Finished, Partial, Started
from benchvise.core.protocol.requests import MakePlan, Open
from benchvise.core.protocol.results import LayersOpened, Opened
from benchvise.core.recipe.plan import make_plan


class FakeTransport(QObject):
    """Keeps what is ordered, and delivers what the test says."""

    delivered = Signal(object)
    ordered = Signal()

    def __init__(self):
        super().__init__()
        self.requests = {}
        self.controls = []
        self.closed = False

    def start(self):
        pass

    def isRunning(self):
        return True

    def order(self, order):
        if isinstance(order, tuple):
            self.requests[order[0]] = order[1]
        else:
            self.controls.append((order.request, order.action))
        self.ordered.emit()

    def close(self):
        self.closed = True


class FakeClient(EngineClient):
    """The client itself, on a transport that reaches no engine."""

    def __init__(self):
        self.transport = FakeTransport()
        super().__init__(transport=self.transport)

    @property
    def requests(self):
        return self.transport.requests

    @property
    def controls(self):
        return self.transport.controls

    @property
    def closed(self):
        return self.transport.closed

    def say(self, event):
        self.transport.delivered.emit([event])

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
