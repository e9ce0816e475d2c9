"""Every command of the deployment pages exists and parses, and every file that they name is there.

kubectl and helm are asked for their options; our own commands are looked up; the clouds' programs, which are not
installed here, have a table of the forms that the pages may use, from their references.
"""

from __future__ import annotations

import re
import shlex
from functools import cache
from typing import Any

import pytest
from typer.main import get_command

from campaign_express.cli import app
from tests.support.rendered import ROOT, program, run
from tests.support.terraform import module
from tools import programs

PAGES = (
    *("docs/deploy-aks.md", "docs/deploy-eks.md", "docs/terraform.md", "docs/operations.md"),
    "deploy/helm/campaign-express/README.md",
)
CLOUDS = {"aks": "azure", "eks": "aws"}
# Words of a command → options that it may have here. Positional arguments are free.
FORMS: dict[str, set[str]] = {
    "az login": set(),
    "az account set": {"--subscription"},
    "az provider register": {"--namespace"},
    "az vm list-usage": {"--location", "--output"},
    "az account show": {"--query", "--output"},
    "az acr login": {"--name"},
    "az network dns record-set a add-record": {
        *("--resource-group", "--zone-name", "--record-set-name", "--ipv4-address"),
    },
    "az keyvault secret set": {"--vault-name", "--name", "--value"},
    "aws configure": set(),
    "aws sts get-caller-identity": set(),
    "aws service-quotas get-service-quota": {"--service-code", "--quota-code"},
    "aws eks update-kubeconfig": {"--name", "--region"},
    "aws ecr get-login-password": {"--region"},
    "aws iam create-access-key": {"--user-name", "--query", "--output"},
    "aws secretsmanager put-secret-value": {"--secret-id", "--secret-string"},
    "kubelogin convert-kubeconfig": {"-l"},
    "terraform init": {"-backend-config"},
    "terraform plan": {"-var"},
    "terraform apply": {"-var"},
    "terraform destroy": {"-var"},
    "terraform output": {"-raw"},
    "terraform state rm": set(),
    "docker login": {"--username", "--password-stdin"},
    "docker build": {"--tag", "--file"},
    "docker push": set(),
    "openssl rand": {"-hex"},
    "curl": {"-i", "--header", "--data"},
    "make install": set(),
    "make manifests": set(),
    "cd": set(),
    "echo": set(),
}
SHELL = {"for", "in", "do", "done", "export"}
SUBSTITUTION = re.compile(r"\$\(((?:[^()]|\([^()]*\))*)\)")
REMOTE = re.compile(r"remoteRef:\s*\{?\s*key: ([\w-]+)")
FENCE = re.compile(r"^```bash\n(.*?)^```", re.MULTILINE | re.DOTALL)


def commands(text: str) -> list[list[str]]:
    """Every command of the text's bash blocks as words; those inside `$(...)` by themselves."""
    return [words for block in FENCE.findall(text) for line in block.splitlines() for words in _line(line)]


def _line(line: str) -> list[list[str]]:
    found: list[list[str]] = []
    while match := SUBSTITUTION.search(line):
        found += _line(match[1])
        line = line.replace(match[0], "SUBSTITUTED", 1)
    return found + _split(line)


def _split(line: str) -> list[list[str]]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|;<>&")
    lexer.whitespace_split = True
    parts: list[list[str]] = [[]]
    skip = False
    for word in lexer:
        if set(word) <= set("|;&"):
            parts.append([])
        elif set(word) <= set("<>"):
            skip = True  # a redirection's file
        elif skip:
            skip = False
        else:
            parts[-1].append(word)
    cleaned = []
    for part in parts:
        while part and (re.match(r"[A-Za-z_]+=", part[0]) or part[0] in SHELL):
            part = [] if part[0] == "for" else part[1:]
        if part:
            cleaned.append(part)
    return cleaned


def problems(words: list[str]) -> list[str]:
    """What is wrong with one command."""
    name = words[0]
    if name in ("kubectl", "helm"):
        return _asked(words)
    if name == "campaign-express":
        return _ours(words)
    words = [word for word in words if not word.startswith("-chdir=")]
    forms = [form for form in FORMS if words[: len(form.split())] == form.split()]
    if not forms:
        return [f"{' '.join(words)}: no such form is known"]
    form = max(forms, key=len)
    given = {word.partition("=")[0] for word in words[len(form.split()) :] if word.startswith("-") and word != "--"}
    return [f"{form}: no option {option}" for option in sorted(given - FORMS[form])]


@cache
def _help(name: str, *subcommands: str) -> str:
    fetch = programs.kubectl if name == "kubectl" else programs.helm
    ran = run(program(fetch), *subcommands, "--help")
    general = run(program(fetch), "options").stdout if name == "kubectl" else ""
    return f"{ran.stdout}\n{general}" if ran.returncode == 0 else ""


def _asked(words: list[str]) -> list[str]:
    """By the program's own help: its subcommands, then the options of the deepest."""
    name, rest = words[0], words[1:]
    if "--" in rest:  # what follows is run in a pod
        inner = rest[rest.index("--") + 1 :]
        return [*_asked([name, *rest[: rest.index("--")]]), *problems(inner)]
    plain = [word for word in rest if not word.startswith("-")]
    if rest and rest[0] in ("-n", "--namespace"):
        plain = plain[1:]
    depth = {"repo": 2, "rollout": 2, "create": 2}.get(plain[0], 1)
    if plain[:2] == ["create", "secret"]:
        depth = 3
    subcommands = plain[:depth]
    said = _help(name, *subcommands)
    if f"{name} {' '.join(subcommands)}" not in said:
        return [f"{name} {' '.join(subcommands)}: there is no such command"]
    options = {word.partition("=")[0] for word in rest if word.startswith("-")}
    return [
        f"{name} {' '.join(subcommands)}: no option {option}"
        for option in sorted(options)
        if not re.search(rf"(^|[\s,]){re.escape(option)}[\s,=:]", said)
    ]


def _ours(words: list[str]) -> list[str]:
    command: Any = get_command(app)
    rest = words[1:]
    while rest and (inner := getattr(command, "commands", None)) is not None:
        found = inner.get(rest[0])
        if found is None:
            return [f"{' '.join(words)}: there is no command {rest[0]}"]
        command, rest = found, rest[1:]
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    given = {word.partition("=")[0] for word in rest if word.startswith("-")}
    return [f"{' '.join(words)}: no option {option}" for option in sorted(given - known)]


def page_commands(page: str) -> list[list[str]]:
    return commands((ROOT / page).read_text())


@pytest.mark.parametrize("page", PAGES)
def test_every_command_exists_and_parses(page: str) -> None:
    found = page_commands(page)
    assert len(found) > 4
    assert [problem for words in found for problem in problems(words)] == []


PARTS = (
    *("deploy/terraform/azure", "deploy/aws/terraform", "deploy/docker", "deploy/nats", "deploy/redis"),
    *("deploy/clickhouse", "deploy/clickhouse-azure", "deploy/clickhouse-aws", "deploy/haproxy", "deploy/monitoring"),
)
PATH = re.compile(r"(?<![\w/:.-])(?:kuberay|deploy|docs)/[\w./-]*[\w]")


@pytest.mark.parametrize("page", [*PAGES, "docs/kubernetes.md"])
def test_every_file_that_is_named_is_there(page: str) -> None:
    """Of a part of deploy/ that is not there at all, no file is looked for."""
    named = set(PATH.findall((ROOT / page).read_text())) - {"kuberay/kuberay-operator"}  # a chart in a Helm repository
    assert named
    absent = [part for part in PARTS if not (ROOT / part).exists()]
    missing = [name for name in named if not (ROOT / name).exists()]
    assert [name for name in missing if not any(f"{name}/".startswith(f"{part}/") for part in absent)] == []


@pytest.mark.parametrize("cloud", ["aks", "eks"])
def test_a_page_goes_from_nothing_to_a_bid(cloud: str) -> None:
    found = [" ".join(words) for words in page_commands(f"docs/deploy-{cloud}.md")]

    def at(beginning: str) -> int:
        return next(number for number, words in enumerate(found) if words.startswith(beginning))

    steps = (
        *("terraform init", "terraform apply", "helm install kuberay-operator"),
        *(f"kubectl apply --server-side -k kuberay/overlays/{cloud}", "campaign-express cluster rollout status"),
        *("kubectl -n campaign-express get pods,svc,rayservice", "curl -i"),
    )
    places = [at(step) for step in steps]
    assert places == sorted(places)


@pytest.mark.parametrize("cloud", ["aks", "eks"])
def test_every_secret_of_the_vault_is_put_there(cloud: str) -> None:
    text = (ROOT / f"docs/deploy-{cloud}.md").read_text()
    files = [ROOT / "kuberay/base/external-secrets.yaml", *(ROOT / "deploy").rglob("*.yaml")]
    keys = {key for file in files for key in REMOTE.findall(file.read_text())}
    assert len(keys) > 9
    assert {key for key in keys if not re.search(rf"[ \"]{key}[ \";]", text)} == set()


def undeclared(cloud: str, found: list[list[str]]) -> list[str]:
    """Variables and outputs that commands of Terraform name and its module has not."""
    variables, outputs = (module(CLOUDS[cloud]).named(kind) for kind in ("variable", "output"))
    said = []
    for words in found:
        if words[0] == "terraform":
            given = [word.split("=")[1] for word in words if word.startswith("-var=")]
            said += [f"variable {name}" for name in given if name not in variables]
            if "output" in words:
                asked = [word for word in words[words.index("output") + 1 :] if not word.startswith("-")]
                said += [f"output {name}" for name in asked if name not in outputs]
    return said


@pytest.mark.parametrize("cloud", CLOUDS)
def test_terraform_is_given_what_it_wants_and_asked_for_what_it_has(cloud: str) -> None:
    page = f"docs/deploy-{cloud}.md"
    found = page_commands(page)
    assert undeclared(cloud, found) == []
    assert undeclared(cloud, [["terraform", "output", "-raw", "unheard_of"]])
    assert undeclared(cloud, [["terraform", "apply", "-var=unheard_of=1"]])
    text = (ROOT / page).read_text()
    for words in found:
        if words[0] == "terraform" and {"plan", "apply", "destroy"} & set(words):
            given = {word.split("=")[1] for word in words if word.startswith("-var=")}
            assert given >= {"environment", "operator_cidrs", "dns_zone_name"}, words
    assert ("TF_VAR_redis_auth_token" in text) is (cloud == "eks")
    assert ("ARM_SUBSCRIPTION_ID" in text) is (cloud == "aks")
    folder = "deploy/terraform/azure" if cloud == "aks" else "deploy/aws/terraform"
    assert set(re.findall(r"-chdir=(\S+)", text)) == {folder}


@pytest.mark.parametrize(
    "line",
    [
        "kubectl aply -k kuberay/overlays/aks",
        "kubectl apply --server-sid -k kuberay/overlays/aks",
        "helm instal a b",
        "helm install a b --versoin 1",
        "campaign-express catalogue publish f",
        "campaign-express catalog publish f --forse",
        "az aks sho --name x",
        "az aks show --nam x",
        "terraform aply",
        "terraform state remove x",
        'X=$(az account show --query "$(terraform output -rw a)")',
        "X=$(aws eks update-kubeconfig --nam a)",
        "kubectl -n a exec -i p -- campaign-express catalogue",
        "unheard-of",
    ],
)
def test_wrong_commands_are_found(line: str) -> None:
    assert [problem for words in commands(f"```bash\n{line}\n```\n") for problem in problems(words)]
