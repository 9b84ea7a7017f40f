"""The rig of an agent on another machine: a screen or a lamp there, or the world of its simulated camera.

Deliberately not here: the session with the agent (`hil/agent/client.py`), and any rig of this machine's.
"""

from __future__ import annotations

from hil.agent.client import RemoteAgent
from hil.protocols import RigInfo, Shown
from hil.rigs.refuse import nothing_shown
from optics_sim.errors import PrivcamError
from optics_sim.stimulus import Stimulus


class RemoteRig:
    """A rig beyond a wire, of the same agent as the camera. It says of itself what that rig says.

    After each exposure the agent asks its rig whether what was shown is still there, and says so with the frame: `confirm` takes that
    word, once, and asks the agent where there is none. PrivcamError for an agent without a rig.
    """

    def __init__(self, agent: RemoteAgent) -> None:
        if agent.opened.rig is None:
            raise PrivcamError("the agent has no rig", got=agent.opened.camera.name, todo="name one in its bench.toml")
        self._agent, self._info = agent, agent.opened.rig
        self._showing = False

    @property
    def info(self) -> RigInfo:
        """Returns what the agent's rig says of itself."""
        return self._info

    def refusal(self, stimulus: Stimulus) -> PrivcamError | None:
        """Returns why the agent's rig cannot show a stimulus, or None."""
        return self._agent.refusal(stimulus)

    def show(self, stimulus: Stimulus) -> Shown:
        """Returns when the agent's rig shows the stimulus."""
        self._showing = False
        shown = self._agent.show(stimulus)
        self._showing = True
        return shown

    def confirm(self) -> None:
        """Raises PrivcamError where the agent's rig cannot say that what was shown is still there."""
        if not self._showing:
            raise nothing_shown()
        if self._agent.confirmed:
            self._agent.confirmed = False
            return
        self._agent.confirm()
