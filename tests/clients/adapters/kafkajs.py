"""kafkajs, behind kafkajs_driver.js."""

import pathlib

from harness import environment

from .driven import DrivenClient


class Client(DrivenClient):
    name = "kafkajs"
    tells_reasons = False
    tells_positions = False
    readers_join_groups = True

    def command(self):
        return ["node", pathlib.Path(__file__).with_name("kafkajs_driver.js")]

    def environment(self):
        return {"NODE_PATH": str(environment.node_modules()), "KAFKAJS_NO_PARTITIONER_WARNING": "1"}
