# Puts the passwords into the list of users, which then is in memory only. That of the user who may do everything is made
# here and leaves the pod by nobody. The users are those of deploy/local/plugboard_cluster/layout.py; tests/kubernetes
# compares the two.
set -eu
umask 077
admin=$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')
printf %s "$admin" >/var/run/redis/admin
sed -e "s/@ADMIN_PASSWORD@/$admin/" -e "s/@REDIS_LIMITS_PASSWORD@/$REDIS_LIMITS_PASSWORD/" \
  /etc/redis/users.acl >/var/run/redis/users.acl
