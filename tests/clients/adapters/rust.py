"""Clients written in Rust, behind rust_driver: rdkafka and rskafka."""

from harness import environment

from .driven import DrivenClient


class Rdkafka(DrivenClient):
    name = "rdkafka"

    def command(self):
        return [environment.rust_driver(), "rdkafka"]


class Rskafka(DrivenClient):
    name = "rskafka"
    tells_positions = False

    def command(self):
        return [environment.rust_driver(), "rskafka"]
