#!/usr/bin/env bash
# The theatre's part of ctx1 alone; ./deploy-all.sh --help lists the options. ctx1에만 배포합니다.
exec "$(dirname "${BASH_SOURCE[0]}")/deploy-all.sh" --only ctx1 "$@"
