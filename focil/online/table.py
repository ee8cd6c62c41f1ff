"""The table of online methods.

To add one, write its file beside this one and add its line here.
"""

from focil.online.agem import Agem
from focil.online.derpp import Derpp
from focil.online.er import ExperienceReplay
from focil.online.er_ace import ErAce
from focil.online.finetune import Finetune
from focil.online.gdumb import Gdumb
from focil.online.joint import JointOnePass
from focil.online.method import OneHead
from focil.online.mir import Mir
from focil.online.ncm import Ncm
from focil.online.onpro import Onpro
from focil.online.randumb import Randumb
from focil.online.scr import Scr
from focil.online.streaming import Streaming

ONLINE: dict[str, type[OneHead]] = {
    "er": ExperienceReplay,
    "er-ace": ErAce,
    "der++": Derpp,
    "a-gem": Agem,
    "mir": Mir,
    "gdumb": Gdumb,
    "scr": Scr,
    "onpro": Onpro,
    "finetune": Finetune,
    "ncm": Ncm,
    "slda": Streaming,
    "randumb": Randumb,
    "joint-one-pass": JointOnePass,
}
TITLES = {name: method.title for name, method in ONLINE.items()}
