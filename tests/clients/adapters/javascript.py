"""Clients written in JavaScript, behind js_driver, on Node 22."""

import pathlib

from harness import environment

from .driven import DrivenClient


class JavaScript(DrivenClient):
    tells_positions = False
    readers_join_groups = True
    driver = None

    def command(self):
        return [environment.node(), pathlib.Path(__file__).with_name("js_driver") / self.driver]

    def environment(self):
        return {"NODE_PATH": str(self.modules()), "KAFKAJS_NO_PARTITIONER_WARNING": "1"}

    def modules(self):
        return environment.node_modules()


class KafkaJs(JavaScript):
    name, driver = "kafkajs", "kafkajs.js"


class ConfluentJs(JavaScript):
    name, driver = "@confluentinc/kafka-javascript", "confluent.js"

    def modules(self):
        return environment.confluent_js()


class Platformatic(JavaScript):
    name, driver = "@platformatic/kafka", "platformatic.js"
