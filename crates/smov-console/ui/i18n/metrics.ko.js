// 지표 화면의 문구.
export default {
  'metrics.title': '지표', 'metrics.sub': '초당 요청 수, 오류율, 지연시간을 서비스와 클러스터로 나누어 봅니다',
  'metrics.window': '기간', 'metrics.minutes': '최근 {n}분', 'metrics.clusters': '클러스터', 'metrics.split': '나눠 보기', 'metrics.whole': '합쳐 보기', 'metrics.service': '서비스',
  'metrics.rate': '초당 요청 수', 'metrics.rate.unit': '건/초', 'metrics.errors': '오류율', 'metrics.errors.unit': '%', 'metrics.latency': '지연시간', 'metrics.latency.unit': 'ms',
  'metrics.percentile': '{name}', 'metrics.all': '전체', 'metrics.unreached': '도달 못함',
  'metrics.chart': '{service} {measure}, 최근 {n}분. {latest}. 좌우 화살표로 시점을 옮기고 Enter로 그 순간의 요청을 봅니다.', 'metrics.chart.value': '{name} {value}', 'metrics.chart.none': '값 없음',
  'metrics.read': '{from}–{to} · {values}', 'metrics.collecting': '데이터가 모이는 중입니다 (5초마다 한 점)', 'metrics.failed': '지표를 읽지 못했습니다: {reason}', 'metrics.retry': '다시 시도',
  'metrics.table': '표로 보기: 최근 {n}분', 'metrics.table.service': '서비스', 'metrics.table.cluster': '클러스터', 'metrics.table.requests': '요청', 'metrics.table.rps': '건/초', 'metrics.table.errors': '오류율', 'metrics.table.retries': '재시도', 'metrics.table.ejections': '격리', 'metrics.table.flags': '응답 플래그',
  'metrics.source': 'api-gateway 사이드카의 istio_requests_total, istio_request_duration_milliseconds(reporter=source)와 같은 값입니다. 지연시간 백분위는 그 히스토그램에서 계산합니다.', 'metrics.unknown': '알 수 없음: {clusters} istiod가 답하지 않습니다',
  'metrics.marks': '설정 적용, 장애, 격리, 재시작은 세로선으로 표시합니다',
};
