// What the gallery makes of the server's answer, without the DOM.

/** The badge of a scenario: none where it is not there. */
export const badgeOf = scenario => (scenario.state === 'active' || scenario.state === 'partly' || scenario.state === 'unknown' ? scenario.state : null);

/** Files for both clusters first, then one cluster's after the other's. */
export const filesByCluster = files => [...files].sort((one, other) => (one.cluster === other.cluster ? one.path.localeCompare(other.path) : one.cluster === 'both' ? -1 : other.cluster === 'both' ? 1 : one.cluster.localeCompare(other.cluster)));

/** Whether a new answer says nothing new. */
export const sameScenarios = (one, other) => one !== null && JSON.stringify(one) === JSON.stringify(other);
