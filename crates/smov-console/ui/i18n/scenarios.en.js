// Words of the gallery of scenarios. What a scenario itself says comes from the server, in both languages.
export default {
  'scenarios.title': 'Scenarios', 'scenarios.sub': 'make one situation, watch it, put it back', 'scenarios.watch': 'What to watch', 'scenarios.apply': 'Apply', 'scenarios.apply.label': 'Apply scenario: {title}', 'scenarios.reset': 'Reset', 'scenarios.reset.label': 'Put scenarios back: what they changed is as at first',
  'scenarios.applied': '{title} applied', 'scenarios.applied.after': '{was} put back, {title} applied', 'scenarios.put-back': 'Put back what scenarios changed: {n}', 'scenarios.left': 'What you changed yourself stays: {names}', 'scenarios.failed': 'The scenario was not applied: {reason}', 'scenarios.unread': 'The scenarios could not be read: {reason}',
  'scenarios.state.active': 'applied', 'scenarios.state.partly': 'partly applied', 'scenarios.state.unknown': 'unknown', 'scenarios.state.working': 'applying', 'scenarios.differs': 'Not as in the scenario: {names}',
  'scenarios.kind.mesh': 'mesh rules', 'scenarios.kind.app': 'real app failure', 'scenarios.kind.infra': 'below', 'scenarios.yaml': 'YAML and commands', 'scenarios.yaml.label': 'Show YAML and commands: {title}', 'scenarios.by-hand': 'By hand in a terminal',
};
