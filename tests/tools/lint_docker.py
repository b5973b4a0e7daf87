"""Keeps Dockerfile and docker-compose.yml honest where no Docker engine runs."""

import pathlib
import re
import sys

import yaml
from dockerfile_parse import DockerfileParser

root = pathlib.Path(__file__).resolve().parents[2]
wrong = []


def expect(holds, text):
    if not holds:
        wrong.append(text)


lines = DockerfileParser(path=str(root / "Dockerfile")).structure
steps = [(s["instruction"], s["value"]) for s in lines if s["instruction"] != "COMMENT"]
stages = {v.split(" AS ")[1] for k, v in steps if k == "FROM" and " AS " in v}
known = {"FROM", "WORKDIR", "COPY", "RUN", "ENV", "USER", "VOLUME", "EXPOSE", "HEALTHCHECK", "ENTRYPOINT", "CMD"}
for instruction, value in steps:
    expect(instruction in known, f"Dockerfile: unknown instruction {instruction}")
    if instruction == "FROM":
        image = value.split()[0]
        expect(":" in image and not image.endswith(":latest"), f"Dockerfile: {image} has no fixed tag")
    if instruction == "COPY":
        source = re.match(r"--from=(\w+) ", value)
        if source:
            expect(source[1] in stages, f"Dockerfile: COPY from unknown stage {source[1]}")
        else:
            for path in value.split()[:-1]:
                expect((root / path).exists(), f"Dockerfile: COPY of {path}, which is not in the tree")
final = steps[max(i for i, (k, _) in enumerate(steps) if k == "FROM"):]
expect(any(k == "USER" and v != "root" for k, v in final), "Dockerfile: runs as root")
expect(any(k == "HEALTHCHECK" for k, _ in final), "Dockerfile: no health check")

compose = yaml.safe_load((root / "docker-compose.yml").read_text())
for name, service in compose["services"].items():
    expect("build" in service or "image" in service, f"docker-compose.yml: {name} has neither image nor build")
    for volume in service.get("volumes", []):
        expect(volume.split(":")[0] in compose["volumes"], f"docker-compose.yml: volume {volume} is not declared")
    for port in service.get("ports", []):
        expect(str(port).startswith("127.0.0.1:"), f"docker-compose.yml: {port} is open to the network")

# Keys of the daemon that both files set must exist in the example configuration.
example = yaml.safe_load(re.sub(r"\$\{[^}]*\}", "x", (root / "config.example.yml").read_text()))
for text in ((root / "Dockerfile").read_text(), (root / "docker-compose.yml").read_text()):
    for variable in re.findall(r"NEXFLOW__(\w+?)(?:=|:)", text):
        place = example
        for key in variable.lower().split("__"):
            expect(isinstance(place, dict) and key in place, f"NEXFLOW__{variable} is no key of the configuration")
            place = place.get(key) if isinstance(place, dict) else None

print("\n".join(wrong) or "Dockerfile and docker-compose.yml are in order.")
sys.exit(1 if wrong else 0)
