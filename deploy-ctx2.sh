#!/usr/bin/env bash
# The theatre's part of ctx2 alone; ./deploy-all.sh --help lists the options. ctx2에만 배포합니다.
exec "$(dirname "${BASH_SOURCE[0]}")/deploy-all.sh" --only ctx2 "$@"
