"""Clients written in Go, behind go_driver: franz-go and Sarama."""

from harness import environment

from .driven import DrivenClient


class FranzGo(DrivenClient):
    name = "franz-go"
    # It tells where it stands only behind records, and commits only those.
    tells_positions = False
    commits_gaps = False

    def command(self):
        return [environment.go_driver(), "franz"]


class Sarama(DrivenClient):
    name = "Sarama"
    tells_positions = False
    # It commits the messages that were marked.
    commits_gaps = False

    def command(self):
        return [environment.go_driver(), "sarama"]
