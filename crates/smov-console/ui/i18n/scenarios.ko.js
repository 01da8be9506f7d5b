// 시나리오 갤러리의 문구. 시나리오 자체의 글은 서버가 두 언어로 보냅니다.
export default {
  'scenarios.title': '시나리오', 'scenarios.sub': '상황을 하나 만들고, 관찰하고, 되돌립니다', 'scenarios.watch': '관찰할 것', 'scenarios.apply': '적용', 'scenarios.apply.label': '시나리오 적용: {title}', 'scenarios.reset': '초기 상태로', 'scenarios.reset.label': '시나리오 되돌리기: 시나리오가 바꾼 것을 처음대로',
  'scenarios.applied': '{title} 적용됨', 'scenarios.applied.after': '{was}을(를) 되돌리고 {title} 적용됨', 'scenarios.put-back': '시나리오가 바꾼 것 {n}개를 되돌렸습니다', 'scenarios.left': '직접 바꾼 것은 그대로입니다: {names}', 'scenarios.failed': '시나리오를 적용하지 못했습니다: {reason}', 'scenarios.unread': '시나리오를 읽지 못했습니다: {reason}',
  'scenarios.state.active': '적용됨', 'scenarios.state.partly': '일부만 적용됨', 'scenarios.state.unknown': '알 수 없음', 'scenarios.state.working': '적용하는 중', 'scenarios.differs': '시나리오와 다른 것: {names}',
  'scenarios.kind.mesh': '메시 규칙', 'scenarios.kind.app': '실제 앱 장애', 'scenarios.kind.infra': '기반', 'scenarios.yaml': 'YAML과 명령', 'scenarios.yaml.label': 'YAML과 명령 보기: {title}', 'scenarios.by-hand': '터미널에서 직접 하려면',
};
