# Puts the passwords into the list of users, which then is in memory only. The users are those of
# deploy/local/plugboard_cluster/layout.py; tests/kubernetes compares the two.
set -eu
umask 077
sed -e "s/@REDIS_PASSWORD@/$REDIS_PASSWORD/" -e "s/@REDIS_LIMITS_PASSWORD@/$REDIS_LIMITS_PASSWORD/" \
  /etc/redis/users.acl >/var/run/redis/users.acl
